"""Terminal output: streams that do not break, waiting lines, tables."""
