"""Decoder, weights in and out, and log-probabilities."""
