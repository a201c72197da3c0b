"""Writes the end of a run to the task's row: done, delayed, held, cancelled or dead.

``middleware.retries`` makes the decision. Each end is one transaction.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from middleware import lifecycle
from middleware.envelopes import to_task
from middleware.policy import TASKS
from middleware.retries import Bury, Cancel, Drop, Hold, Jitter, Patience, Retry, decide
from middleware.run_state import run_state
from middleware.task_broker import TaskBroker
from mirt.clock import Clock
from mirt.errors import (
    ErrorCode,
    ExternalServiceError,
    OutageError,
    OutcomeUnknownError,
    code_of,
)
from mirt.observe import metrics
from mirt.store.engine.database import Database
from mirt.store.queue import events, holds, leases
from mirt.store.queue.cancelling import add_cancelled
from mirt.store.queue.dead_letters import write_failure
from mirt.store.queue.events import EventKind, TaskEvent
from mirt.store.queue.leases import Lease


class Settlement:
    """Writes the end of a run. The pause before the first retry is at most ``base_s`` seconds.

    Raises:
        DatabaseError: from each method; nothing is settled.
        LeaseLostError: from each method; another worker has the task.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        patience: Patience,
        base_s: float,
        jitter: Jitter,
    ) -> None:
        self._database = database
        self._clock = clock
        self._patience = patience
        self._base_s = base_s
        self._jitter = jitter

    def settle(
        self, broker: TaskBroker, message: Any, lease: Lease, error: BaseException | None
    ) -> None:
        """End the run, as the class of its error demands."""
        now = self._clock()
        if error is None:
            leases.finish_and_commit(self._database.commits, lease, now=now)
            lifecycle.finished(message)
            return
        decision = decide(
            error,
            lease,
            now=now,
            policy=TASKS[message.actor_name],
            patience=self._patience,
            base_s=self._base_s,
            jitter=self._jitter,
            may_continue=self._may_continue(broker, message, lease, error),
        )
        if isinstance(decision, Hold):
            if self._hold(message, lease, error, decision, now):
                return
            decision = decision.otherwise
        match decision:
            case Retry():
                self._retry(message, lease, error, decision, now)
            case Bury(error_code):
                self.fail(broker, message, lease, error, error_code)
            case Cancel():
                self._cancel(broker, message, lease, now)
            case Drop():
                lifecycle.dropped(error)

    def _cancel(self, broker: TaskBroker, message: Any, lease: Lease, now: datetime) -> None:
        handler = broker.failure_handlers.get(message.actor_name)
        with self._database.transaction() as tx:
            operator = leases.cancel(tx, lease, now=now)
            add_cancelled(tx, lease.task_id, lease.attempt, operator, now=now)
            to_publish = handler.cancelled(tx, lease.task_id) if handler else []
        message.fail()
        run_state(message).buried = run_state(message).cancelled = True
        lifecycle.cancelled(message, operator)
        broker.publish(to_publish)

    def _hold(
        self, message: Any, lease: Lease, error: BaseException, decision: Hold, now: datetime
    ) -> bool:
        """Hold the task; return False if its service has answered another one meanwhile."""
        outage = decision.outage
        with self._database.transaction() as tx:
            is_new = holds.open_hold(tx, outage, failed_at=decision.failed_at, now=now)
            if is_new is not None:
                self._wait_for(outage.service, tx, lease, decision.attempt, now)
        if is_new is None:
            if isinstance(error, OutageError):
                error.forget()
            return False
        if is_new:
            lifecycle.service_held(outage)
        lifecycle.held(message, error)
        return True

    def _retry(
        self, message: Any, lease: Lease, error: BaseException, decision: Retry, now: datetime
    ) -> None:
        due_at, attempt = now + timedelta(seconds=decision.delay_s), decision.attempt
        failing = self._failing_service(lease, error, now)
        with self._database.transaction() as tx:
            if failing is not None and holds.lock_hold(tx, failing):
                self._wait_for(failing, tx, lease, lease.attempt, now)
                is_held = True
            else:
                waited_s = decision.waited_s
                leases.postpone(tx, lease, due_at=due_at, attempt=attempt, waited_s=waited_s)
                if not (self._patience.holds and isinstance(error, OutageError)):
                    events.add_events(tx, _retried(lease, error, now, due_at))
                is_held = False
        if is_held:
            lifecycle.held(message, error)
        else:
            metrics.RETRIES.inc(task=message.actor_name, error=type(error).__name__)
            lifecycle.retried(message, error, decision)

    def _failing_service(self, lease: Lease, error: BaseException, now: datetime) -> str | None:
        """Return the service whose hold, if it has one, explains this failure.

        A request of unknown outcome stays an attempt, since it may have had an effect.
        """
        if not self._patience.holds or self._patience.is_over(lease, now):
            return None
        if isinstance(error, OutcomeUnknownError) or not isinstance(error, ExternalServiceError):
            return None
        return error.service

    def _wait_for(
        self, service: str, tx: Connection, lease: Lease, attempt: int, now: datetime
    ) -> None:
        until = self._patience.ends(lease, now)
        leases.hold(tx, lease, service, now=now, until=until, attempt=attempt)

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
