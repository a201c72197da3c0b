"""What happened in a conversation, or in one trace of it, and what each step had waited for.

Nobody writes a timeline: it is read from the rows that the work itself leaves.
"""

from mirt.timeline.step import Step, What
from mirt.timeline.timelines import Timeline, Timelines

__all__ = ["Step", "Timeline", "Timelines", "What"]
