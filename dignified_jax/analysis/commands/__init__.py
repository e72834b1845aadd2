"""Commands of `python -m dignified_jax.analyze`: their flags, and what each writes."""
