"""A run on disk and on its machine: directory, checkpoints, compilation, interruption."""
