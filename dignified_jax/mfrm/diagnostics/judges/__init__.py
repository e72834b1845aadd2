"""Judges compared: effects of single judges, drift over time, groups of them."""
