"""Memory and FLOPs of a run, counted before anything is allocated or loaded."""
