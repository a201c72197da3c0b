"""Writes the end of a run to the task's row: done, delayed until its retry, or dead.

``middleware.retries`` makes the decision. Each end is one transaction.
"""

from datetime import datetime, timedelta
from typing import Any

from middleware import lifecycle
from middleware.envelopes import to_task
from middleware.policy import TASKS
from middleware.retries import Bury, Drop, Jitter, Retry, decide
from middleware.run_state import run_state
from middleware.task_broker import TaskBroker
from mirt.clock import Clock
from mirt.errors import ErrorCode, code_of
from mirt.observe import metrics
from mirt.store.engine.database import Database
from mirt.store.queue import events, leases
from mirt.store.queue.dead_letters import write_failure
from mirt.store.queue.events import EventKind, TaskEvent
from mirt.store.queue.leases import Lease


class Settlement:
    """Writes the end of a run. The pause before the first retry is at most ``base_s`` seconds.

    Raises:
        DatabaseError: from each method; nothing is settled.
        LeaseLostError: from each method; another worker has the task.
    """

    def __init__(self, database: Database, clock: Clock, *, base_s: float, jitter: Jitter) -> None:
        self._database = database
        self._clock = clock
        self._base_s = base_s
        self._jitter = jitter

    def settle(
        self, broker: TaskBroker, message: Any, lease: Lease, error: BaseException | None
    ) -> None:
        """End the run, as the class of its error demands."""
        now = self._clock()
        if error is None:
            with self._database.transaction() as tx:
                leases.finish(tx, lease, now=now)
            lifecycle.finished(message)
            return
        decision = decide(
            error,
            attempt=lease.attempt,
            waited_s=lease.waited_s,
            policy=TASKS[message.actor_name],
            base_s=self._base_s,
            jitter=self._jitter,
            may_continue=self._may_continue(broker, message, lease, error),
        )
        match decision:
            case Retry(delay_s, attempt, waited_s):
                with self._database.transaction() as tx:
                    due_at = now + timedelta(seconds=delay_s)
                    leases.postpone(tx, lease, due_at=due_at, attempt=attempt, waited_s=waited_s)
                    events.add_events(tx, _retried(lease, error, now, due_at))
                metrics.RETRIES.inc(task=message.actor_name, error=type(error).__name__)
                lifecycle.retried(message, error, decision)
            case Bury(error_code):
                self.fail(broker, message, lease, error, error_code)
            case Drop():
                lifecycle.dropped(error)

    def _may_continue(
        self, broker: TaskBroker, message: Any, lease: Lease, error: BaseException
    ) -> bool:
        handler = broker.failure_handlers.get(message.actor_name)
        if handler is None or code_of(error) != ErrorCode.TIME_LIMIT:
            return False
        with self._database.transaction() as tx:
            return handler.may_continue(tx, lease.task_id)

    def fail(
        self, broker: TaskBroker, message: Any, lease: Lease, error: BaseException, error_code: str
    ) -> None:
        """Write the dead letter and what the business does about it, in one transaction."""
        now = self._clock()
        handler = broker.failure_handlers.get(message.actor_name)
        with self._database.transaction() as tx:
            write_failure(
                tx, lease, to_task(message), error, error_code, queue=message.queue_name, now=now
            )
            to_publish = handler.failed(tx, lease.task_id) if handler else []
        message.fail()
        run_state(message).buried = True
        metrics.BURIED.inc(task=message.actor_name, code=error_code)
        lifecycle.failed(message, lease, error, error_code)
        broker.publish(to_publish)


def _retried(lease: Lease, error: BaseException, now: datetime, due_at: datetime) -> TaskEvent:
    code, why = type(error).__name__, str(error)
    return TaskEvent(lease.task_id, EventKind.RETRIED, now, lease.attempt, code, why, due_at)
