"""Joins data, models and objectives: train step, loop, checkpoints."""
