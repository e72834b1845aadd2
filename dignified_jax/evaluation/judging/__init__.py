"""Judges of responses to rubric items: local models, endpoints, and rules."""
