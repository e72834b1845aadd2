"""Millions of ratings in designs too thin for a dense array."""
