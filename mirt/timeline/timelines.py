"""Read the timeline of a conversation, trace, task or message, with the wait before each step."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mirt.clock import Clock
from mirt.errors import RateLimitError
from mirt.store.engine.database import Database
from mirt.store.reports.search import Conversation, conversation
from mirt.store.reports.timeline_rows import Subject, find_subject, known_of, sessions_of_message
from mirt.timeline.narration import UNNOTICED, steps
from mirt.timeline.step import Step, What

LONGEST: Final = 200
"""Most rows of each kind. A longer conversation shows its end."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The steps of a subject, oldest first, and its conversation, if it has one.

    ``others`` has the session ids of further conversations with a message of the requested id.
    """

    subject: Subject
    conversation: Conversation | None
    steps: list[Step]
    others: Sequence[str] = ()


class Timelines:
    """The timelines. The number of queries does not depend on the number of steps."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def of(self, name: str) -> Timeline | None:
        """Return the timeline of the conversation, trace, task or message with this id, or None.

        Raises:
            DatabaseError: the database cannot be reached.
        """
        with self._database.transaction() as tx:
            subject = find_subject(tx, name)
            if subject is None:
                return None
            known = known_of(tx, subject, limit=LONGEST)
            about = conversation(tx, subject.session_id) if subject.session_id else None
            session_ids = sessions_of_message(tx, name)
        others = [session_id for session_id in session_ids if session_id != subject.session_id]
        return Timeline(subject, about, list(_in_order(steps(known, self._clock()))), others)


def _in_order(unsorted: Iterable[Step]) -> Iterator[Step]:
    before: dict[str, Step] = {}
    for step in sorted(unsorted, key=lambda step: step.at):
        last = before.get(step.task_id, step)
        before[step.task_id] = step
        waited = step.at - last.at
        reason = step.waited_for if waited > UNNOTICED else None
        if reason and last.what is What.RETRIED:
            reason = f"{_pause(last)}, then {reason}"
        yield replace(step, waited_s=waited.total_seconds(), waited_for=reason)


def _pause(failed: Step) -> str:
    until = failed.details.get("until")
    length = "" if until is None else f" of {(until - failed.at).total_seconds():.0f} s"
    if failed.details.get("code") == RateLimitError.__name__:
        return f"the pause{length} that the other side asked for (429)"
    return f"the pause{length} before the next attempt"
