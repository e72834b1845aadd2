"""Judgments to scores: a calibration for each dimension, and what is said of it in tables."""
