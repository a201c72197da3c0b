"""Runs each task once at a time: claims its row before, and settles it after.

This is where decisions are carried out (``middleware.retries`` says how they are made). Nothing is
acknowledged before its row is settled; what cannot be settled is given back to the broker.
"""

import traceback
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog
from dramatiq import Broker, Message, Middleware
from dramatiq.middleware import MiddlewareError, SkipMessage
from sqlalchemy import Connection

from middleware.envelopes import to_task
from middleware.leases import LeaseKeeper
from middleware.policy import TASKS
from middleware.quarantine import Cell, is_last_start, verdict
from middleware.retries import Bury, Drop, Jitter, Retry, decide
from mirt.clock import Clock
from mirt.errors import DatabaseError, ErrorCode, LeaseLostError, PermanentError
from mirt.store import leases
from mirt.store.database import Database
from mirt.store.dead_letters import DeadLetter, write_dead_letter
from mirt.store.leases import Claim
from mirt.store.tasks import Publication

log = structlog.get_logger(__name__)

OnDead = Callable[[Connection, str], list[Publication]]
"""What the business owes when its task is dead, in the transaction that writes the dead letter."""

OnReplay = Callable[[Connection, str], bool]
"""What the business mends when a dead task is to run again; whether it may run now."""

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


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How pauses between attempts are made."""

    base_s: float
    jitter: Jitter


class Execution(Middleware):
    """One run of a task at a time; its end is written before its message is acknowledged."""

    def __init__(
        self, database: Database, clock: Clock, keeper: LeaseKeeper, retry: RetryPolicy
    ) -> None:
        self._database = database
        self._clock = clock
        self._keeper = keeper
        self._retry = retry
        self._cell = Cell()

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """Claim the task.

        Raises:
            SkipMessage: this copy has nothing to do; the task's row says what happens next.
            NotNow: the database cannot be asked.
        """
        task = to_task(message)
        try:
            with self._database.transaction() as tx:
                claim = leases.claim(
                    tx,
                    task,
                    owner=self._keeper.owner,
                    now=self._clock(),
                    lease=self._keeper.lease,
                )
        except DatabaseError as failed:
            message.give_back = True
            raise NotNow(failed.message) from None
        if claim is None:
            raise SkipMessage(f"task {task.task_id} is not to be run now")
        self._keeper.add(claim)
        if guilty := verdict(claim):
            self._quarantine(broker, message, claim, guilty)
            raise SkipMessage(guilty.message)
        if is_last_start(claim):
            self._enter_alone(message, claim)
        else:
            self._cell.enter(alone=False)
        _claim.set(claim)

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
            self._settle(broker, message, claim, exception)
        except LeaseLostError as lost:
            log.warning("late_end_ignored", why=lost.message)
        except Exception:
            # Whatever it is: what is not settled must not be acknowledged.
            log.exception("not_settled")
            message.give_back = True
        finally:
            self._forget(claim)

    def after_skip_message(self, broker: Broker, message: Any) -> None:
        """Leave the row of a task that was not run, or that parked itself, as it is."""
        if claim := _claim.get():
            self._forget(claim)

    def _forget(self, claim: Claim) -> None:
        _claim.set(None)
        self._cell.leave()
        self._keeper.remove(claim)

    def _enter_alone(self, message: Any, claim: Claim) -> None:
        """Wait for the others. A death of the process meanwhile is not this task's doing."""
        try:
            self._count_start(claim, -1)
            self._cell.enter(alone=True)
            try:
                self._count_start(claim, +1)
            except BaseException:
                self._cell.leave()
                raise
        except (DatabaseError, LeaseLostError) as failed:
            self._keeper.remove(claim)
            message.give_back = True
            raise NotNow(failed.message) from None

    def _count_start(self, claim: Claim, by: int) -> None:
        with self._database.transaction() as tx:
            leases.count_start(tx, claim, by)

    def _quarantine(
        self, broker: Broker, message: Any, claim: Claim, guilty: PermanentError
    ) -> None:
        try:
            code = guilty.error_code or ErrorCode.WORKER_LOST
            self._bury(broker, message, claim, guilty, code)
        except DatabaseError as failed:
            message.give_back = True
            log.warning("not_settled", why=failed.message)
        finally:
            self._keeper.remove(claim)

    def _settle(
        self, broker: Broker, message: Any, claim: Claim, error: BaseException | None
    ) -> None:
        now = self._clock()
        if error is None:
            with self._database.transaction() as tx:
                leases.finish(tx, claim, now=now)
            return
        decision = decide(
            error,
            attempt=claim.attempt,
            waited_s=claim.waited_s,
            policy=TASKS[message.actor_name],
            base_s=self._retry.base_s,
            jitter=self._retry.jitter,
        )
        match decision:
            case Retry(delay_s, attempt, waited_s):
                with self._database.transaction() as tx:
                    due_at = now + timedelta(seconds=delay_s)
                    leases.postpone(tx, claim, due_at=due_at, attempt=attempt, waited_s=waited_s)
                log.warning("retrying", why=str(error), attempt=attempt, delay_s=round(delay_s, 2))
            case Bury(error_code):
                self._bury(broker, message, claim, error, error_code)
            case Drop():
                log.warning("dropped", why=str(error))

    def _bury(
        self, broker: Any, message: Any, claim: Claim, error: BaseException, error_code: str
    ) -> None:
        now = self._clock()
        on_dead: OnDead | None = broker.get_actor(message.actor_name).options.get("on_dead")
        with self._database.transaction() as tx:
            leases.bury(tx, claim, error_code=error_code, now=now)
            write_dead_letter(tx, dead_letter(message, claim, error, error_code), now=now)
            publications = on_dead(tx, claim.task_id) if on_dead else []
        message.fail()
        message.buried = True
        log.error("dead", code=error_code, why=str(error), attempts=claim.attempt + 1)
        broker.publish(publications)


LONGEST_TRACEBACK: Final = 20_000


def dead_letter(
    message: Message[Any], claim: Claim, error: BaseException, error_code: str
) -> DeadLetter:
    """All that somebody needs to understand the failure and to run the task again."""
    lines = "".join(traceback.format_exception(error))
    return DeadLetter(
        task=to_task(message),
        queue=message.queue_name,
        error_code=error_code,
        exception=f"{type(error).__name__}: {error}",
        traceback=lines[-LONGEST_TRACEBACK:],
        attempts=claim.attempt + 1,
        trace_id=message.options.get("trace_id"),
        # The message is of the last publication; the row is as old as the task.
        sent_at=claim.created_at or message.message_datetime,
    )
