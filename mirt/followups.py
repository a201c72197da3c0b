"""Queue the follow-ups that are due, and send each one that is still wanted when its task runs.

A follow-up is *taken* (it gets its number in its silence) in the transaction that queues it. So it
is queued once, however many processes look for due ones. A message of the customer cancels it.

Nothing is sent in the quiet hours of the shop: what is due then waits until they are over. A
follow-up that a program or an operator asks for now is sent now.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from mirt.clock import Clock
from mirt.deliveries import Deliveries
from mirt.errors import ErrorCode, PermanentError
from mirt.observe import metrics, traces
from mirt.quiet_hours import QuietHours
from mirt.store.engine.database import Database
from mirt.store.queue import leases, outbox
from mirt.store.queue.leases import Lease
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop import followups as store
from mirt.store.shop.deliveries import (
    Delivery,
    DeliveryState,
    abandon_delivery,
    add_delivery,
    find_delivery,
    reopen_delivery,
)
from mirt.store.shop.followups import FollowUp, Silence
from mirt.task_names import TaskName

log = structlog.get_logger(__name__)

BATCH: Final = 100
"""Follow-ups that one transaction takes."""
LONGEST_DELAY_H: Final = 24 * 365
ORDER_LASTS: Final = timedelta(days=7)
"""A customer who ordered this shortly before falling silent needs no reminder of the shop."""


QUIET_HOURS: Final = "quiet_hours"
"""The reason of a skip after which the follow-up is due again."""

HANDED_OVER: Final = "handed_over"
"""The reason of a skip while a person has the conversation."""

WindowOf = Callable[[str], timedelta | None]
"""Function from a chat to the time after its last message in which we may write; None: always."""


class FollowUps:
    """The follow-ups of all conversations.

    ``delays_h`` has the hours after the customer's last message for each platform, one entry for
    each follow-up. ``windows`` has ``Channel.messaging_window`` of each platform, ``texts`` a text
    for each follow-up.
    """

    def __init__(
        self,
        database: Database,
        deliveries: Deliveries,
        clock: Clock,
        *,
        delays_h: Mapping[str, Sequence[int]],
        windows: Mapping[str, WindowOf],
        texts: Sequence[str],
        quiet: QuietHours | None = None,
    ) -> None:
        self._database = database
        self._deliveries = deliveries
        self._clock = clock
        self._windows = windows
        self._texts = texts
        self._quiet = quiet
        self._delays = {
            platform: [timedelta(hours=hours) for hours in delays]
            for platform, delays in delays_h.items()
        }

    def take_due(self) -> Iterator[list[TaskMessage]]:
        """Take every due follow-up, none in the quiet hours. Yield batches to publish, committed.

        The highest number comes first: a customer with several due follow-ups gets one of them,
        not all at once.
        """
        for platform, delays in self._delays.items():
            for number in reversed(range(len(delays))):
                while not self._is_quiet() and (batch := self._take_batch(platform, number)):
                    yield batch

    def schedule(
        self,
        task_id: str,
        session_id: str,
        delay_hours: float,
        *,
        channel: str,
        chat_id: str | None,
    ) -> None:
        """Queue the next follow-up for a later time. The customer's next message cancels it.

        If that time is in the quiet hours, it is sent when they are over; 0 hours means now in
        any case. A second call with the same ``task_id`` changes nothing.

        Raises:
            PermanentError: INVALID_INPUT, ``delay_hours`` is not within 0 to ``LONGEST_DELAY_H``.
        """
        if not (math.isfinite(delay_hours) and 0 <= delay_hours <= LONGEST_DELAY_H):
            raise PermanentError(
                f"delay_hours: must be between 0 and {LONGEST_DELAY_H}", ErrorCode.INVALID_INPUT
            )
        now = self._clock()
        with self._database.transaction() as tx:
            silence = store.lock_silence(tx, session_id)
            new = outbox.add(
                tx,
                _task(
                    task_id,
                    session_id,
                    channel,
                    chat_id,
                    traces.child_options(TaskName.SEND_FOLLOWUP),
                ),
                now=now,
                due_at=self._after_quiet(now + timedelta(hours=delay_hours))
                if delay_hours
                else now,
            )
            if new and silence is not None:
                self._take_next(tx, task_id, silence, asked=not delay_hours)

    def send(
        self, lease: Lease, session_id: str, *, channel: str, chat_id: str | None
    ) -> dict[str, Any]:
        """Send the follow-up of this task on the channel of its conversation.

        ``channel`` and ``chat_id`` are used only if the conversation has no chat. A second run,
        after a failure or a crash, continues with the same follow-up. A follow-up that is no longer
        wanted is skipped; the result names the reason.

        Raises:
            RateLimitError, ExternalServiceError, PermanentError: as ``Deliveries.deliver``.
            LeaseLostError: another worker has the task.
        """
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            silence = store.lock_silence(tx, session_id)
            if silence is None:
                return _skipped(session_id, "no_conversation")
            if silence.chat_id is None:
                silence = replace(silence, platform=channel, chat_id=chat_id)
            followup = store.find(tx, lease.task_id)
            if followup is None and self._is_window_closed(silence):
                return _skipped(session_id, "window_closed")
            followup = followup or self._take_next(tx, lease.task_id, silence, asked=True)
            if followup is None:
                return _skipped(session_id, "none_left")
            delivery = find_delivery(tx, lease.task_id)
            sent = delivery is not None and delivery.state is DeliveryState.SENT
            if not sent and (reason := self._skip_reason(tx, followup, silence)):
                abandon_delivery(tx, lease.task_id, now=self._clock())
                if reason == QUIET_HOURS:
                    store.release(tx, followup)
                return _skipped(session_id, reason)
            if delivery is None:
                delivery = self._delivery(followup, silence, lease)
                add_delivery(tx, delivery, now=self._clock())
        result = self._deliveries.deliver(lease, lease.task_id)
        if result["status"] == DeliveryState.UNREACHABLE:
            return _skipped(session_id, "unreachable")
        if result["status"] == DeliveryState.WITHHELD:
            return _skipped(session_id, HANDED_OVER)
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            store.add_to_history(tx, followup, delivery.text, now=self._clock())
        metrics.FOLLOWUPS.inc(outcome="sent")
        return {
            "status": "sent",
            "session_id": session_id,
            "content": delivery.text,
            "tags": [f"followup_{followup.number + 1}"],
            "channel": delivery.platform,
        }

    def failed(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Mark the delivery of a follow-up as failed, in the transaction of its dead letter."""
        abandon_delivery(tx, task_id, now=self._clock())
        return []

    def may_continue(self, _tx: Connection, _task_id: str) -> bool:
        """Leave a follow-up that passed its limit to an operator: no customer waits for it."""
        return False

    def reopened(self, tx: Connection, task_id: str) -> bool:
        """Reopen the delivery of a failed follow-up. The task may run at once."""
        reopen_delivery(tx, task_id)
        return True

    def purged(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Settle a purged follow-up like a failed one."""
        return self.failed(tx, task_id)

    def cancelled(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Settle a cancelled follow-up like a failed one."""
        return self.failed(tx, task_id)

    def set_wanted(self, session_id: str, *, wanted: bool) -> dict[str, Any]:
        """Store whether the customer wants follow-ups.

        Returns ``{status: "ok", session_id, wanted}``, or ``{status: "skipped", session_id,
        reason: "no_conversation"}``.

        Raises:
            DatabaseError: it could not be stored.
        """
        with self._database.transaction() as tx:
            if not store.set_wanted(tx, session_id, wanted=wanted):
                return _skipped(session_id, "no_conversation")
        return {"status": "ok", "session_id": session_id, "wanted": wanted}

    def _is_quiet(self) -> bool:
        return self._after_quiet(now := self._clock()) != now

    def _after_quiet(self, at: datetime) -> datetime:
        """Return the time, or the end of the quiet hours that it lies in."""
        return (self._quiet.end_after(at) if self._quiet else None) or at

    def _take_batch(self, platform: str, number: int) -> list[TaskMessage]:
        now = self._clock()
        with self._database.transaction() as tx:
            until = now - self._delays[platform][number]
            found = store.lock_silent(
                tx, [platform], fewer_than=number + 1, until=until, limit=BATCH
            )
            due = [(_task_id(silence, number, now), silence) for silence in found]
            if due:
                taken = [
                    FollowUp(task_id, silence.session_id, silence.since, number)
                    for task_id, silence in due
                ]
                store.record(tx, taken, now=now)
            batch = [
                _task(
                    task_id,
                    silence.session_id,
                    silence.platform,
                    silence.chat_id,
                    traces.new_options(TaskName.SEND_FOLLOWUP),
                )
                for task_id, silence in due
            ]
            for task in batch:
                outbox.add(tx, task, now=now)
        return batch

    def _take_next(
        self, tx: Connection, task_id: str, silence: Silence, *, asked: bool = False
    ) -> FollowUp | None:
        created = store.created_at(tx, task_id)
        number = silence.followups_taken
        most = len(self._delays.get(silence.platform, ()))
        if number >= most or (created is not None and created < silence.since):
            return None
        taken = FollowUp(task_id, silence.session_id, silence.since, number, asked)
        store.record(tx, [taken], now=self._clock())
        return taken

    def _delivery(self, followup: FollowUp, silence: Silence, lease: Lease) -> Delivery:
        return Delivery(
            id=followup.task_id,
            session_id=followup.session_id,
            platform=silence.platform,
            chat_id=silence.chat_id or followup.session_id,
            text=self._texts[followup.number % len(self._texts)],
            trace_id=lease.trace_id,
        )

    def _skip_reason(self, tx: Connection, followup: FollowUp, silence: Silence) -> str | None:
        if silence.since != followup.since:
            return "customer_wrote"
        if silence.handover_state is not None:
            return HANDED_OVER
        if silence.head_task_id is not None:
            return "not_answered_yet"
        if silence.chat_id is None:
            return "no_chat"
        if silence.unreachable_since is not None:
            return "unreachable"
        if silence.followups_off:
            return "opted_out"
        if store.has_ordered(tx, silence.session_id, since=silence.since - ORDER_LASTS):
            return "ordered"
        if not followup.asked and self._is_quiet():
            return QUIET_HOURS
        return "window_closed" if self._is_window_closed(silence) else None

    def _is_window_closed(self, silence: Silence) -> bool:
        window_of = self._windows.get(silence.platform)
        window = window_of(silence.chat_id) if window_of and silence.chat_id else None
        return window is not None and self._clock() - silence.since >= window


def _task_id(silence: Silence, number: int, now: datetime) -> str:
    # With the time: a follow-up that was released is taken again, by another task.
    since, taken = silence.since.isoformat(), int(now.timestamp())
    return f"followup:{silence.session_id}:{since}:{number}:{taken}"


def _task(
    task_id: str, session_id: str, channel: str, chat_id: str | None, options: Mapping[str, str]
) -> TaskMessage:
    return TaskMessage(
        task_id=task_id,
        actor=TaskName.SEND_FOLLOWUP,
        kwargs={"session_id": session_id, "channel": channel, "chat_id": chat_id},
        options=options,
    )


def _skipped(session_id: str, reason: str) -> dict[str, Any]:
    metrics.FOLLOWUPS.inc(outcome=reason)
    log.info("followup_skipped", reason=reason)
    return {"status": "skipped", "session_id": session_id, "reason": reason}
