"""Rows and token ids on disk, and processes that make them: for data of any number of rows."""
