"""Runnable comparisons; their figures are in RESULTS.md."""
