"""Calls to models behind endpoints, each paid for once, and what is read of their answers."""
