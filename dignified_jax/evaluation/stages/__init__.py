"""Stages of an evaluation: each goes on where it was stopped, by the hash of what it is made of."""
