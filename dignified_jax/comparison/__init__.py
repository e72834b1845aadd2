"""Several methods from one checkpoint, on the same data, judged in the same way."""
