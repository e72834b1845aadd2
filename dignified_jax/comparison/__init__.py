"""Several methods from one checkpoint, on the same data, scored in the same way."""
