"""Run a turn without a queue: the caller does the work and gets the answer.

For TASKS_ENABLED=false. The messages of a conversation still go through its mailbox, so callers at
the same moment are answered in order. A caller that finds the head unclaimed runs it, even for
another caller. An apology whose sender has died is sent by the next caller that finds it at the
head.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

import structlog

from mirt.clock import Clock, deadline_in, remaining
from mirt.conversations import ANSWERS, Conversations, as_task
from mirt.errors import LeaseLostError, WorkerError, code_of
from mirt.observe import metrics
from mirt.store.engine.database import Database
from mirt.store.queue import leases
from mirt.store.queue.dead_letters import write_failure
from mirt.store.queue.leases import Lease
from mirt.store.queue.tasks import TaskMessage, TaskOutcome
from mirt.store.shop import mailbox
from mirt.store.shop.deliveries import Delivery, find_delivery
from mirt.store.shop.delivery_task import send_response_task
from mirt.store.shop.handovers import handed_over
from mirt.store.shop.mailbox import KeptMail, Mail, MailState
from mirt.task_names import TaskName
from mirt.turns.failed_turns import FailedTurns
from mirt.turns.turn import Turns

log = structlog.get_logger(__name__)

LIMIT_S: Final = 85.0
"""Seconds after which a caller gets ``SoftTimeLimitExceeded``."""
LOOK_AGAIN_S: Final = 0.05
"""Seconds between two looks at the head of another caller."""

QueueOf = Callable[[str], str]
"""Function from the name of a task to the queue it would be in; dead letters store it."""


@dataclass(slots=True)
class _Caller:
    """A caller that runs turns, and the tasks that the agent has asked for in them."""

    owner: str
    queue_of: QueueOf
    agent_tasks: list[TaskMessage] = field(default_factory=list)


class DirectTurns:
    """The executor of turns in the process of the caller."""

    def __init__(
        self,
        database: Database,
        conversations: Conversations,
        turns: Turns,
        failed_turns: FailedTurns,
        clock: Clock,
    ) -> None:
        self._database = database
        self._conversations = conversations
        self._turns = turns
        self._failed_turns = failed_turns
        self._clock = clock

    def answer(self, mail: Mail, *, queue_of: QueueOf) -> TaskOutcome:
        """Store the message, wait for its turn, run it, and return its outcome.

        While a person has the conversation the outcome is ``handed_over``, with an empty response.
        A failed turn becomes a dead letter of the queue that its task would have been in.

        Raises:
            WorkerError: the error of the turn; the message is not tried again.
            SoftTimeLimitExceeded: ``LIMIT_S`` seconds have passed.
        """
        accepted = self._conversations.accept(mail)
        mail = replace(mail, task_id=accepted.task_id, session_id=accepted.session_id)
        caller = _Caller(f"caller:{uuid.uuid4().hex}", queue_of)
        with deadline_in(LIMIT_S):
            while (result := self._turns.result_of(mail)) is None:
                if not self._take_head(mail, caller):
                    if self._waits_for_person(mail):
                        return TaskOutcome(_handed_over(mail), caller.agent_tasks)
                    time.sleep(remaining(LOOK_AGAIN_S))
        return TaskOutcome(result, caller.agent_tasks)

    def _take_head(self, mail: Mail, caller: _Caller) -> bool:
        """Run the head, also for another caller; return False if another caller runs it."""
        with self._database.transaction() as tx:
            # No lock here: a turn locks its task first and the conversation second.
            head_id = mailbox.head_of(tx, mail.session_id)
            if head_id is None:
                return False
            head = mailbox.find(tx, head_id)
            apology = None if head else find_delivery(tx, head_id)
        if head is not None:
            return self._take_turn(mail, head, caller)
        return apology is not None and self._apologise(apology, caller)

    def _waits_for_person(self, mail: Mail) -> bool:
        with self._database.transaction() as tx:
            kept = mailbox.find(tx, mail.task_id)
            waits = kept is not None and kept.state is MailState.WAITING
            return waits and handed_over(tx, mail.session_id)

    def _take_turn(self, mail: Mail, head: KeptMail, caller: _Caller) -> bool:
        task = as_task(head)
        lease = self._claim(task, caller)
        if lease is None:
            return False
        try:
            # The next head is not published: its own caller waits for its turn here.
            tasks = self._turns.answer(lease, head).to_publish
            caller.agent_tasks += [task for task in tasks if task.actor not in ANSWERS]
        except LeaseLostError:
            return False
        except Exception as failed:
            self._fail(lease, task, failed, caller)
            if head.task_id == mail.task_id:
                raise
            log.warning("direct_turn_failed", task_id=head.task_id, error=type(failed).__name__)
            return True
        return True

    def _apologise(self, apology: Delivery, caller: _Caller) -> bool:
        """Send an apology that is the head; return False if another caller sends it."""
        task = send_response_task(apology)
        lease = self._claim(task, caller)
        if lease is None:
            return False
        try:
            self._turns.send_text(lease, apology)
        except LeaseLostError:
            return False
        except WorkerError as failed:
            log.warning("apology_failed", task_id=apology.id, why=failed.message)
            self._fail(lease, task, failed, caller)
            return True
        return True

    def _claim(self, task: TaskMessage, caller: _Caller) -> Lease | None:
        duration = timedelta(seconds=LIMIT_S + 5)
        with self._database.transaction() as tx:
            return leases.claim(tx, task, owner=caller.owner, now=self._clock(), duration=duration)

    def _fail(self, lease: Lease, task: TaskMessage, error: Exception, caller: _Caller) -> None:
        now, code, queue = self._clock(), code_of(error), caller.queue_of(task.actor)
        with self._database.transaction() as tx:
            write_failure(tx, lease, task, error, code, queue=queue, now=now)
            to_publish = self._failed_turns.failed(tx, task.task_id)
            apologies = [
                find_delivery(tx, task.task_id)
                for task in to_publish
                if task.actor == TaskName.SEND_RESPONSE
            ]
        metrics.BURIED.inc(task=task.actor, code=code)
        for apology in filter(None, apologies):
            self._apologise(apology, caller)


def _handed_over(mail: Mail) -> dict[str, Any]:
    return {
        "status": "handed_over",
        "session_id": mail.session_id,
        "response": "",
        "response_length": 0,
        "platform": mail.platform,
        "chat_id": mail.chat_id,
    }
