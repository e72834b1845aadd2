"""Checkpoints of parameters: bare ones, those of runs, and policies from whatever holds one."""
