"""Processes: how they start, what they watch, how they stop."""
