"""Tables, plots and pages of a fit."""
