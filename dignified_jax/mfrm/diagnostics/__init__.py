"""What a fit is worth: mean squares, separation, bias, resampling."""
