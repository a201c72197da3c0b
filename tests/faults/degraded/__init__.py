"""Servers that are alive and ill: full, deaf, slow to answer, or ending the connections they have.

All tests here share one deployment, which they leave well; each has customers of its own.
"""
