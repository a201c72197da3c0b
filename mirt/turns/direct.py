"""The same turn without a queue: the caller does the work and gets the answer.

For TASKS_ENABLED=false. Messages of a conversation still go through its mailbox, so callers at the
same moment are answered in order, and whoever finds the conversation idle works for all who wait.
An apology whose bringer has died is brought by who finds it at the head.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

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
from mirt.store.shop.mailbox import KeptMail, Mail
from mirt.task_names import TaskName
from mirt.turns.failed_turns import FailedTurns, send_response_task
from mirt.turns.turn import Turns

log = structlog.get_logger(__name__)

LIMIT_S: Final = 85.0
LOOK_AGAIN_S: Final = 0.05

QueueOf = Callable[[str], str]
"""Which queue the tasks of this name are in, where there are queues."""


@dataclass(slots=True)
class _Caller:
    """The caller whose process does the work, and the tasks that the agent asked for meanwhile."""

    owner: str
    queue_of: QueueOf
    agent_tasks: list[TaskMessage] = field(default_factory=list)


class DirectTurns:
    """Answers a message before it returns."""

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
        """Keep the message, wait for its turn and take it; the result, and what follows from it.

        What fails is a dead letter of the queue that it would have been in.

        Raises:
            WorkerError: what the turn failed with; the message is not tried again.
            SoftTimeLimitExceeded: after ``LIMIT_S`` seconds.
        """
        accepted = self._conversations.accept(mail)
        mail = replace(mail, task_id=accepted.task_id, session_id=accepted.session_id)
        caller = _Caller(f"caller:{uuid.uuid4().hex}", queue_of)
        with deadline_in(LIMIT_S):
            while (result := self._turns.result_of(mail)) is None:
                if not self._take_head(mail, caller):
                    time.sleep(remaining(LOOK_AGAIN_S))
        return TaskOutcome(result, caller.agent_tasks)

    def _take_head(self, mail: Mail, caller: _Caller) -> bool:
        """Work for whoever is at the head; False when somebody else does already."""
        with self._database.transaction() as tx:
            # Not locked: whoever is at the head holds it, and locks the conversation after that.
            head_id = mailbox.head_of(tx, mail.session_id)
            if head_id is None:
                return False
            head = mailbox.find(tx, head_id)
            said = None if head else find_delivery(tx, head_id)
        if head is not None:
            return self._take_turn(mail, head, caller)
        return said is not None and self._apologise(said, caller)

    def _take_turn(self, mail: Mail, head: KeptMail, caller: _Caller) -> bool:
        task = as_task(head)
        lease = self._claim(task, caller)
        if lease is None:
            return False
        try:
            # The next head is not published: its own caller waits here for its turn.
            left = self._turns.answer(lease, head).to_publish
            caller.agent_tasks += [one for one in left if one.actor not in ANSWERS]
        except LeaseLostError:
            return False
        except Exception as failed:
            self._fail(lease, task, failed, caller)
            if head.task_id == mail.task_id:
                raise
            log.warning("direct_turn_failed", task_id=head.task_id, error=type(failed).__name__)
            return True
        self._finish(lease)
        return True

    def _apologise(self, said: Delivery, caller: _Caller) -> bool:
        """Bring an apology that stands at the head; False when somebody else does already."""
        task = send_response_task(said)
        lease = self._claim(task, caller)
        if lease is None:
            return False
        try:
            self._turns.send_text(lease, said)
        except LeaseLostError:
            return False
        except WorkerError as failed:
            log.warning("apology_failed", task_id=said.id, why=failed.message)
            self._fail(lease, task, failed, caller)
            return True
        self._finish(lease)
        return True

    def _claim(self, task: TaskMessage, caller: _Caller) -> Lease | None:
        duration = timedelta(seconds=LIMIT_S + 5)
        with self._database.transaction() as tx:
            return leases.claim(tx, task, owner=caller.owner, now=self._clock(), duration=duration)

    def _finish(self, lease: Lease) -> None:
        with self._database.transaction() as tx:
            leases.finish(tx, lease, now=self._clock())

    def _fail(self, lease: Lease, task: TaskMessage, error: Exception, caller: _Caller) -> None:
        now, code, queue = self._clock(), code_of(error), caller.queue_of(task.actor)
        with self._database.transaction() as tx:
            write_failure(tx, lease, task, error, code, queue=queue, now=now)
            owed = self._failed_turns.failed(tx, task.task_id)
            apologies = [
                find_delivery(tx, one.task_id)
                for one in owed
                if one.actor == TaskName.SEND_RESPONSE
            ]
        metrics.BURIED.inc(task=task.actor, code=code)
        for said in filter(None, apologies):
            self._apologise(said, caller)
