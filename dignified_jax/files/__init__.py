"""Files in and out: whole or not at all, and read as coming from strangers."""
