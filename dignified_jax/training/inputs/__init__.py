"""Inputs of a run: batches, policy and reference."""
