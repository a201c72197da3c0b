"""Follow-ups: a customer who has gone silent is written to, a few times at most.

What may not live here: how a text reaches a chat (``mirt.deliveries``), and when anybody looks.
"""

from mirt.followups.followups import FOLLOWING_UP, FollowUps

__all__ = ["FOLLOWING_UP", "FollowUps"]
