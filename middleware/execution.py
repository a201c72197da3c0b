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
from middleware.quarantine import Cell, is_last_start, verdict
from middleware.settlement import Settlement
from mirt.clock import Clock
from mirt.errors import DatabaseError, ErrorCode, LeaseLostError, PermanentError
from mirt.store.engine.database import Database
from mirt.store.queue import events, leases
from mirt.store.queue.events import EventKind, TaskEvent
from mirt.store.queue.leases import Claim

log = structlog.get_logger(__name__)

_claim: ContextVar[Claim | None] = ContextVar("claim", default=None)


def current_claim() -> Claim:
    """The claim on the task that runs in this thread.

    Raises:
        LookupError: outside of a task.
    """
    claim = _claim.get()
    if claim is None:
        raise LookupError("no task is running here")
    return claim


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
        self._cell = Cell()

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """Claim the task.

        Raises:
            SkipMessage: this copy has nothing to do; the task's row says what happens next.
            NotNow: the database cannot be asked, or the worker stops.
        """
        claim = self._enter(message, alone=False)
        if is_last_start(claim):
            # It is nobody's again: another process may run it, which is alone sooner.
            self._cell.leave()
            claim = self._enter(message, alone=True)
        self._keeper.add(claim)
        lifecycle.claimed(message, claim)
        if guilty := verdict(claim):
            self._quarantine(broker, message, claim, guilty)
            raise SkipMessage(guilty.message)
        _claim.set(claim)
        lifecycle.started(message, claim, now=self._clock())

    def before_worker_shutdown(self, broker: Broker, worker: Any) -> None:
        """Let nobody in any more: who waits at the door has not begun."""
        self._cell.close()

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Settle the task: done, again later, or dead."""
        claim = _claim.get()
        if claim is None:
            return
        try:
            self._settlement.settle(broker, message, claim, exception)
        except LeaseLostError as lost:
            lifecycle.dropped(lost)
        except Exception as failed:  # noqa: BLE001
            # Whatever it is: what is not settled must not be acknowledged.
            lifecycle.not_settled(message, failed)
            message.give_back = True
        finally:
            self._forget(claim)

    def after_skip_message(self, broker: Broker, message: Any) -> None:
        """Leave the row of a task that was not run, or that parked itself, as it is."""
        if claim := _claim.get():
            lifecycle.parked(message)
            self._forget(claim)

    def _forget(self, claim: Claim) -> None:
        _claim.set(None)
        self._cell.leave()
        self._keeper.remove(claim)

    def _enter(self, message: Any, *, alone: bool) -> Claim:
        """Wait to be let in, and claim the task only then: who waits holds nothing."""
        if not self._cell.enter(alone=alone):
            message.give_back = True
            raise NotNow("the worker stops")
        try:
            claim = self._claimed(message, alone=alone)
            if claim is None:
                raise SkipMessage(f"task {message.message_id} is not to be run now")
        except BaseException:
            self._cell.leave()
            raise
        return claim

    def _claimed(self, message: Any, *, alone: bool) -> Claim | None:
        """The claim, which is given back already when it is of a suspect that is not alone."""
        task, now = to_task(message), self._clock()
        try:
            with self._database.transaction() as tx:
                claim = leases.claim(
                    tx, task, owner=self._keeper.owner, now=now, lease=self._keeper.lease
                )
                if claim is None:
                    return None
                if is_last_start(claim) and not alone:
                    leases.give_back(tx, claim, now=now)
                elif claim.starts > 1:
                    events.note(tx, _restarted(claim, now))
        except DatabaseError as failed:
            message.give_back = True
            raise NotNow(failed.message) from None
        except Exception:
            # Dramatiq would go on, and run what nobody has claimed.
            log.exception("not_claimed", task_id=task.task_id)
            message.give_back = True
            raise NotNow(f"task {task.task_id} could not be claimed") from None
        return claim

    def _quarantine(
        self, broker: Broker, message: Any, claim: Claim, guilty: PermanentError
    ) -> None:
        try:
            code = guilty.error_code or ErrorCode.WORKER_LOST
            self._settlement.bury(broker, message, claim, guilty, code)
        except DatabaseError as failed:
            message.give_back = True
            lifecycle.not_settled(message, failed)
        finally:
            self._forget(claim)


def _restarted(claim: Claim, now: datetime) -> TaskEvent:
    why = "the run before did not end: its worker was lost"
    return TaskEvent(claim.task_id, EventKind.RESTARTED, now, claim.attempt, why=why)
