"""Judgments of models' responses, the scores that follow from them, and a report."""
