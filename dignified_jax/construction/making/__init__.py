"""Makers of a row's parts: scenario, golden reply, negatives; what checks them, and the loop."""
