"""Runs each task once at a time: claims its row before the run, and settles it after.

A message is acknowledged only after the row of its task is settled. If that fails, the message
goes back to its queue.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from dramatiq import Broker, Middleware
from dramatiq.middleware import MiddlewareError, SkipMessage

from middleware import lifecycle
from middleware.envelopes import to_task
from middleware.leases import LeaseKeeper
from middleware.pauses import Pauses, subjects_of
from middleware.quarantine import (
    Quarantine,
    SharedExclusiveLock,
    fatal_error,
    is_last_start,
)
from middleware.run_state import run_state
from middleware.settlement import Settlement
from mirt.clock import Clock
from mirt.errors import DatabaseError, LeaseLostError, TaskCancelledError, WorkerError
from mirt.store.engine.database import Database
from mirt.store.queue import events, leases
from mirt.store.queue.claim_hook import ClaimHooks
from mirt.store.queue.events import EventKind, TaskEvent
from mirt.store.queue.leases import Lease
from mirt.store.queue.outbox import REPUBLISH_AFTER

log = structlog.get_logger(__name__)

_lease: ContextVar[Lease | None] = ContextVar("lease", default=None)
_is_finished: ContextVar[bool] = ContextVar("is_finished", default=False)


def current_lease() -> Lease:
    """Return the lease of the task that runs in this thread.

    Raises:
        LookupError: outside of a task.
    """
    lease = _lease.get()
    if lease is None:
        raise LookupError("no task is running here")
    return lease


def mark_finished() -> None:
    """Say that the task that runs here is done already: its last step has finished its row."""
    _is_finished.set(True)


class NotNow(MiddlewareError):  # noqa: N818 - not a failure
    """The task cannot be claimed at the moment; its message goes back to the broker."""


class Execution(Middleware):
    """Claims a task before its actor runs, and writes its end before the acknowledgement.

    A second copy of the message finds the row claimed or ended and is skipped.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        keeper: LeaseKeeper,
        settlement: Settlement,
        find_hooks: Callable[[], ClaimHooks] = dict,
        pauses: Pauses | None = None,
        quarantine: Quarantine = Quarantine(),  # noqa: B008 - frozen
    ) -> None:
        """``find_hooks`` returns the business's claim hooks; it is asked with each claim.

        Without ``pauses`` no task is held by one: its caller waits, and none would run it later.
        """
        self._pauses = pauses
        self._quarantined = quarantine
        self._database = database
        self._clock = clock
        self._keeper = keeper
        self._find_hooks = find_hooks
        self._settlement = settlement
        self._admission = SharedExclusiveLock()

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """Claim the task.

        Raises:
            SkipMessage: this copy has nothing to do; the task's row decides what happens next.
            NotNow: the database is unreachable, or the worker stops.
        """
        lease = self._enter(broker, message, exclusive=self._quarantined.is_here)
        if is_last_start(lease) and not self._quarantined.is_here:
            # The lease is given back: another process may run the task.
            self._admission.release()
            if self._quarantined.report is not None:
                self._quarantined.report()
                raise SkipMessage(f"task {message.message_id} runs in a process of its own")
            lease = self._enter(broker, message, exclusive=True)
        self._keeper.add(lease)
        lifecycle.claimed(message, lease)
        if fatal := _error_before_the_run(lease):
            self._quarantine(broker, message, lease, fatal)
            raise SkipMessage(fatal.message)
        _lease.set(lease)
        _is_finished.set(False)
        lifecycle.started(message, lease, now=self._clock())

    def before_worker_shutdown(self, broker: Broker, worker: Any) -> None:
        """Refuse admission from now on. The tasks that wait for it have no lease yet."""
        self._admission.close()

    def close(self) -> None:
        """Stop the renewals: a task that still runs loses its lease when the lease runs out."""
        self._keeper.stop()

    def after_process_message(
        self,
        broker: Any,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Settle the task: done, delayed until its retry, or dead."""
        lease = _lease.get()
        if lease is None:
            return
        try:
            if exception is None and _is_finished.get():
                lifecycle.finished(message)
            else:
                self._settlement.settle(broker, message, lease, exception)
        except LeaseLostError as lost:
            lifecycle.dropped(lost)
        except Exception as failed:  # noqa: BLE001
            # A task that is not settled must not be acknowledged, for any reason.
            lifecycle.not_settled(message, failed)
            run_state(message).give_back = True
        finally:
            self._forget(lease)

    def after_skip_message(self, broker: Broker, message: Any) -> None:
        """Leave the row as it is: the task did not run, or it parked itself."""
        if lease := _lease.get():
            lifecycle.parked(message)
            self._forget(lease)

    def _forget(self, lease: Lease) -> None:
        _lease.set(None)
        self._admission.release()
        self._keeper.remove(lease)

    def _enter(self, broker: Any, message: Any, *, exclusive: bool) -> Lease:
        """Wait for admission, then claim the task.

        A waiting thread holds no lease, so another process can run the task.
        """
        if not self._admission.acquire(exclusive=exclusive):
            run_state(message).give_back = True
            raise NotNow("the worker stops")
        try:
            lease = self._claim(broker, message, exclusive=exclusive)
            if lease is None:
                raise SkipMessage(f"task {message.message_id} cannot run now")
        except BaseException:
            self._admission.release()
            raise
        return lease

    def _claim(self, broker: Any, message: Any, *, exclusive: bool) -> Lease | None:
        """Claim the task; None if its row does not allow a run now, or if it is paused."""
        subjects = subjects_of(message) if self._pauses else ()
        try:
            if self._pauses and self._pauses.hold(broker, message, subjects):
                return None
            lease = self._claim_row(message, subjects, exclusive=exclusive)
            if lease is None and self._pauses:
                # Perhaps it was paused a moment ago. Otherwise it is a copy with nothing to do.
                broker.paused = None
                self._pauses.hold(broker, message, subjects)
        except DatabaseError as failed:
            run_state(message).give_back = True
            raise NotNow(failed.message) from None
        except Exception:
            # Dramatiq would go on and run the task without a lease.
            log.exception("not_claimed", task_id=message.message_id)
            run_state(message).give_back = True
            raise NotNow(f"task {message.message_id} could not be claimed") from None
        return lease

    def _claim_row(self, message: Any, subjects: Sequence[str], *, exclusive: bool) -> Lease | None:
        """Claim the row of the task, and let the business read and open its own rows.

        The lease of a suspect that is not alone is given back in the same transaction.
        """
        task, now = to_task(message), self._clock()
        hook = self._find_hooks().get(task.actor)
        claimed_by: Any = {
            "owner": self._keeper.owner,
            "now": now,
            "duration": self._keeper.lease,
            "subjects": subjects,
        }
        if hook is None and not exclusive:
            first = leases.claim_first_and_commit(self._database.commits, task, **claimed_by)
            if first is not None:
                return first
        with self._database.transaction() as tx:
            reads = hook.reads(task) if hook else ()
            lease, found = leases.claim_and_read(tx, task, reads, **claimed_by)
            if lease is None:
                return None
            if is_last_start(lease) and not exclusive:
                is_reported = self._quarantined.report is not None
                # Due later: until then the process of its own has begun.
                leases.give_back(tx, lease, now=now, pause=REPUBLISH_AFTER * is_reported)
                return lease
            if lease.starts > 1:
                events.add_events(tx, _restarted(lease, now))
            if hook and _error_before_the_run(lease) is None:
                lease = replace(lease, opened=hook.claimed(tx, lease, task, found))
        return lease

    def _quarantine(self, broker: Any, message: Any, lease: Lease, fatal: WorkerError) -> None:
        try:
            self._settlement.settle(broker, message, lease, fatal)
        except DatabaseError as failed:
            run_state(message).give_back = True
            lifecycle.not_settled(message, failed)
        finally:
            self._forget(lease)


def _error_before_the_run(lease: Lease) -> WorkerError | None:
    """Return the error of a task that must not begin: it kills its workers, or is cancelled."""
    return TaskCancelledError() if lease.cancelled_by else fatal_error(lease)


def _restarted(lease: Lease, now: datetime) -> TaskEvent:
    why = "the run before did not end: its worker was lost"
    return TaskEvent(lease.task_id, EventKind.RESTARTED, now, lease.attempt, why=why)
