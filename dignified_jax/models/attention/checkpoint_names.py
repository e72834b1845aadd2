"""Names of what a backward pass may keep, as `jax.ad_checkpoint.checkpoint_name` gives them."""

# Queries, keys and values as projected; their norms and rotation are cheap.
ATTENTION_INPUT = "attention_input"
# What the attention's backward pass needs of its output.
ATTENTION_OUTPUT = "attention_output"
