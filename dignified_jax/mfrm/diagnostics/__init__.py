"""The worth of a fit: mean squares, separation, bias, resampling."""
