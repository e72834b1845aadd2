"""Formats of rows: the columns of each, judged into `PreferenceRow`s."""
