"""Align and score language models on several persona dimensions at once, in JAX."""

__version__ = "0.1.0"
