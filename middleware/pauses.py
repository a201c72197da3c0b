"""Holds the tasks of a queue, task, channel or conversation that an operator has paused."""

from collections.abc import Sequence
from typing import Any, Final

from middleware import lifecycle
from middleware.envelopes import to_task
from middleware.policy import TASKS
from mirt.clock import Clock
from mirt.store.engine.database import Database
from mirt.store.engine.statements import fetch_all
from mirt.store.queue import pauses
from mirt.store.queue.pauses import PauseKind, Subject

DEFAULT_CHANNEL: Final = "telegram"
"""The channel of a task that does not name one, as in the signatures of the actors."""


def subjects_of(message: Any) -> Sequence[str]:
    """Return the keys of the pauses that would hold this message."""
    policy = TASKS[message.actor_name]
    subjects = [Subject(PauseKind.QUEUE, policy.queue), Subject(PauseKind.TASK, policy.name)]
    if policy.channel_argument is not None:
        channel = message.kwargs.get(policy.channel_argument, DEFAULT_CHANNEL)
        subjects.append(Subject(PauseKind.CHANNEL, str(channel)))
    if session_id := lifecycle.session_of(message):
        subjects.append(Subject(PauseKind.CONVERSATION, session_id))
    return [str(subject) for subject in subjects]


class Pauses:
    """The pauses as a worker heeds them. A paused task costs one transaction until it is resumed.

    A worker learns of a pause when it reads its outbox, twice a second. Before that the claim of a
    paused task changes nothing, and its message comes again seconds later.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def hold(self, broker: Any, message: Any, subjects: Sequence[str]) -> bool:
        """Hold the task if one of its subjects is paused; return whether it is held.

        Raises:
            DatabaseError: nothing has changed.
        """
        if broker.paused is None:
            with self._database.transaction() as tx:
                [found] = fetch_all(tx, [pauses.reading_paused()])
            broker.paused = {pause.subject for pause in found}
        if not (known := [one for one in subjects if one in broker.paused]):
            return False
        with self._database.transaction() as tx:
            paused = pauses.hold_paused(tx, to_task(message), known, now=self._clock())
        if paused is not None:
            lifecycle.paused(message, paused)
        return paused is not None
