"""Summaries: what was said long ago is kept as one text, which the agent reads before it answers.

What may not live here: when anybody looks, and how a model is asked (``mirt.llm``).
"""

from mirt.summaries.summaries import SUMMARISING, Summaries

__all__ = ["SUMMARISING", "Summaries"]
