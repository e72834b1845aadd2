"""Ratings in: tables and files to counts."""
