"""Show the steps of a conversation or of one trace, and the wait before each step.

A timeline is not stored: it is built from the rows that the work itself leaves.
"""

from mirt.timeline.step import Step, What
from mirt.timeline.timelines import Timeline, Timelines

__all__ = ["Step", "Timeline", "Timelines", "What"]
