"""What a GPU computes, and how fast: one command, `python -m benchmarks.gpu`."""
