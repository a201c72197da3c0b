"""Count the replies that keep the goal of the shop: so soon for so many of its customers."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mirt.observe import metrics
from mirt.store.shop.mailbox import KeptMail, Mail


@dataclass(frozen=True, slots=True)
class ReplyGoal:
    """``share`` of the messages have their reply ``seconds`` after they came.

    Each reply also adds the share that may miss the goal to ``mirt_reply_budget_total``. So the
    burn rate is the growth of the missed replies over the growth of the budget.
    """

    seconds: float = 60.0
    share: float = 0.95

    def replied(self, mail: Mail, now: datetime) -> None:
        """Count a message that has its reply now; mail that was in no mailbox does not count."""
        if isinstance(mail, KeptMail):
            took_s = (now - mail.received_at).total_seconds()
            self._count("met" if took_s <= self.seconds else "missed")

    def failed(self) -> None:
        """Count a message that gets no reply: it has missed the goal."""
        self._count("missed")

    def _count(self, goal: str) -> None:
        metrics.REPLIES.inc(goal=goal)
        metrics.REPLY_BUDGET.inc(1 - self.share)


DEFAULT_GOAL: Final = ReplyGoal()
