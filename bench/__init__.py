"""Measures speed, as a ratio between two variants in the same run."""
