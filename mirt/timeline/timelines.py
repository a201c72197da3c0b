"""Reads timelines, and says how long each step had to wait."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from mirt.clock import Clock
from mirt.store.database import Database
from mirt.store.search import Conversation, conversation
from mirt.store.subjects import Subject, find_subject, known_of
from mirt.timeline.narration import UNNOTICED, steps
from mirt.timeline.step import Step, What

LONGEST: Final = 200
"""Rows of each kind; of a longer conversation its end is shown."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The steps of a subject, the oldest first; the conversation they belong to, if to any."""

    subject: Subject
    conversation: Conversation | None
    steps: list[Step]


class Timelines:
    """Reads timelines. The number of queries does not depend on how much happened."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def of(self, name: str) -> Timeline | None:
        """The timeline of a conversation, trace, task or message of this id; None: nobody knows it.

        Raises:
            DatabaseError: it cannot be asked.
        """
        with self._database.transaction() as tx:
            subject = find_subject(tx, name)
            if subject is None:
                return None
            known = known_of(tx, subject, limit=LONGEST)
            about = conversation(tx, subject.session_id) if subject.session_id else None
        return Timeline(subject, about, list(_in_order(steps(known, self._clock()))))


def _in_order(told: Iterable[Step]) -> Iterator[Step]:
    before: dict[str, Step] = {}
    for step in sorted(told, key=lambda step: step.at):
        last = before.get(step.task_id, step)
        before[step.task_id] = step
        waited = step.at - last.at
        reason = step.waited_for if waited > UNNOTICED else None
        if reason and last.what is What.RETRIED:
            reason = f"the pause before the next attempt, then {reason}"
        yield replace(step, waited_s=waited.total_seconds(), waited_for=reason)
