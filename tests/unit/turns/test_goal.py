"""Replies are counted by whether they come within the goal of the shop."""

from datetime import timedelta

import pytest

from mirt.observe import metrics
from mirt.observe.instruments import Counter
from mirt.store.shop.mailbox import KeptMail, Mail, MailState
from mirt.turns.goal import ReplyGoal
from tests.clock import NOON

GOAL = ReplyGoal(seconds=60, share=0.9)
MAIL = KeptMail(
    "t1", "7", "process_and_respond", "Привіт", "telegram", "trace", id=1,
    state=MailState.WAITING, turn_id=None, received_at=NOON,
)  # fmt: skip


def counted(goal: str) -> float:
    return value_of(metrics.REPLIES, goal=goal)


def value_of(counter: Counter, **labels: str) -> float:
    samples = (sample for metric in counter.collect() for sample in metric.samples)
    totals = (one.value for one in samples if one.name.endswith("_total") and one.labels == labels)
    return next(totals, 0.0)


@pytest.mark.parametrize(("after_s", "goal"), [(0, "met"), (60, "met"), (60.1, "missed")])
def test_a_reply_within_the_goal_meets_it_and_a_later_one_misses_it(
    after_s: float, goal: str
) -> None:
    before, budget = counted(goal), value_of(metrics.REPLY_BUDGET)
    GOAL.replied(MAIL, NOON + timedelta(seconds=after_s))
    assert counted(goal) == before + 1
    assert value_of(metrics.REPLY_BUDGET) == pytest.approx(budget + 0.1)


def test_a_message_that_failed_misses_the_goal() -> None:
    before = counted("missed")
    GOAL.failed()
    assert counted("missed") == before + 1


def test_a_message_that_was_in_no_mailbox_does_not_count() -> None:
    before = counted("met") + counted("missed")
    GOAL.replied(Mail("t1", "7", "process_message", "Привіт", "telegram", "trace"), NOON)
    assert counted("met") + counted("missed") == before
