"""The display of a run: lines, tables, plots, trackers."""
