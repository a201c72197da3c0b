"""Runs each task once at a time: claims its row before, and settles it after.

Nothing is acknowledged before its row is settled; what cannot be settled is given back to the
broker.
"""

from contextvars import ContextVar
from datetime import datetime
from typing import Any

import structlog
from dramatiq import Broker, Middleware
from dramatiq.middleware import MiddlewareError, SkipMessage

from middleware import lifecycle
from middleware.envelopes import to_task
from middleware.leases import LeaseKeeper
from middleware.quarantine import SharedExclusiveLock, fatal_error, is_last_start
from middleware.settlement import Settlement
from mirt.clock import Clock
from mirt.errors import DatabaseError, ErrorCode, LeaseLostError, PermanentError
from mirt.store.engine.database import Database
from mirt.store.queue import events, leases
from mirt.store.queue.events import EventKind, TaskEvent
from mirt.store.queue.leases import Lease

log = structlog.get_logger(__name__)

_lease: ContextVar[Lease | None] = ContextVar("claim", default=None)


def current_lease() -> Lease:
    """The claim on the task that runs in this thread.

    Raises:
        LookupError: outside of a task.
    """
    lease = _lease.get()
    if lease is None:
        raise LookupError("no task is running here")
    return lease


class NotNow(MiddlewareError):  # noqa: N818 - not an error of anybody
    """The task cannot be claimed at the moment; its message goes back to the broker."""


class Execution(Middleware):
    """One run of a task at a time; its end is written before its message is acknowledged."""

    def __init__(
        self, database: Database, clock: Clock, keeper: LeaseKeeper, settlement: Settlement
    ) -> None:
        self._database = database
        self._clock = clock
        self._keeper = keeper
        self._settlement = settlement
        self._admission = SharedExclusiveLock()

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """Claim the task.

        Raises:
            SkipMessage: this copy has nothing to do; the task's row says what happens next.
            NotNow: the database cannot be asked, or the worker stops.
        """
        lease = self._enter(message, exclusive=False)
        if is_last_start(lease):
            # It is nobody's again: another process may run it, which is alone sooner.
            self._admission.release()
            lease = self._enter(message, exclusive=True)
        self._keeper.add(lease)
        lifecycle.claimed(message, lease)
        if fatal := fatal_error(lease):
            self._quarantine(broker, message, lease, fatal)
            raise SkipMessage(fatal.message)
        _lease.set(lease)
        lifecycle.started(message, lease, now=self._clock())

    def before_worker_shutdown(self, broker: Broker, worker: Any) -> None:
        """Let nobody in any more: who waits at the door has not begun."""
        self._admission.close()

    def after_process_message(
        self,
        broker: Any,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Settle the task: done, again later, or dead."""
        lease = _lease.get()
        if lease is None:
            return
        try:
            self._settlement.settle(broker, message, lease, exception)
        except LeaseLostError as lost:
            lifecycle.dropped(lost)
        except Exception as failed:  # noqa: BLE001
            # Whatever it is: what is not settled must not be acknowledged.
            lifecycle.not_settled(message, failed)
            message.give_back = True
        finally:
            self._forget(lease)

    def after_skip_message(self, broker: Broker, message: Any) -> None:
        """Leave the row of a task that was not run, or that parked itself, as it is."""
        if lease := _lease.get():
            lifecycle.parked(message)
            self._forget(lease)

    def _forget(self, lease: Lease) -> None:
        _lease.set(None)
        self._admission.release()
        self._keeper.remove(lease)

    def _enter(self, message: Any, *, exclusive: bool) -> Lease:
        """Wait to be let in, and claim the task only then: who waits holds nothing."""
        if not self._admission.acquire(exclusive=exclusive):
            message.give_back = True
            raise NotNow("the worker stops")
        try:
            lease = self._claimed(message, exclusive=exclusive)
            if lease is None:
                raise SkipMessage(f"task {message.message_id} is not to be run now")
        except BaseException:
            self._admission.release()
            raise
        return lease

    def _claimed(self, message: Any, *, exclusive: bool) -> Lease | None:
        """The claim, which is given back already when it is of a suspect that is not alone."""
        task, now = to_task(message), self._clock()
        try:
            with self._database.transaction() as tx:
                lease = leases.claim(
                    tx, task, owner=self._keeper.owner, now=now, duration=self._keeper.lease
                )
                if lease is None:
                    return None
                if is_last_start(lease) and not exclusive:
                    leases.give_back(tx, lease, now=now)
                elif lease.starts > 1:
                    events.add_events(tx, _restarted(lease, now))
        except DatabaseError as failed:
            message.give_back = True
            raise NotNow(failed.message) from None
        except Exception:
            # Dramatiq would go on, and run what nobody has claimed.
            log.exception("not_claimed", task_id=task.task_id)
            message.give_back = True
            raise NotNow(f"task {task.task_id} could not be claimed") from None
        return lease

    def _quarantine(self, broker: Any, message: Any, lease: Lease, fatal: PermanentError) -> None:
        try:
            code = fatal.error_code or ErrorCode.WORKER_LOST
            self._settlement.fail(broker, message, lease, fatal, code)
        except DatabaseError as failed:
            message.give_back = True
            lifecycle.not_settled(message, failed)
        finally:
            self._forget(lease)


def _restarted(lease: Lease, now: datetime) -> TaskEvent:
    why = "the run before did not end: its worker was lost"
    return TaskEvent(lease.task_id, EventKind.RESTARTED, now, lease.attempt, why=why)
