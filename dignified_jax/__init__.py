"""Align and score language models on several persona dimensions at once, in JAX."""

from dignified_jax.console import entry

__version__ = "0.1.0"

entry.watch_imports()
del entry
