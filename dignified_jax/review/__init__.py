"""Human review of preference rows: a web application over one SQLite file, without JAX.

`python -m dignified_jax.review DB` serves it; needs the extra `review`.
"""
