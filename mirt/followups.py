"""Queue the follow-ups that are due, and send each one that is still wanted when its task runs.

A follow-up is *taken* (it gets its number in its silence) in the transaction that queues it. So it
is queued once, however many processes look for due ones. A message of the customer cancels it.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from mirt.clock import Clock
from mirt.deliveries import Deliveries
from mirt.errors import ErrorCode, PermanentError
from mirt.observe import traces
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
from mirt.texts import FOLLOWUP_TEXTS

log = structlog.get_logger(__name__)

BATCH: Final = 100
"""Follow-ups that one transaction takes."""
LONGEST_DELAY_H: Final = 24 * 365

WindowOf = Callable[[str], timedelta | None]
"""Function from a chat to the time after its last message in which we may write; None: always."""


class FollowUps:
    """The follow-ups of all conversations.

    ``delays_h`` has the hours after the customer's last message, one entry for each follow-up.
    ``windows`` has ``Channel.messaging_window`` of each platform.
    """

    def __init__(
        self,
        database: Database,
        deliveries: Deliveries,
        clock: Clock,
        *,
        delays_h: Sequence[int],
        windows: Mapping[str, WindowOf],
    ) -> None:
        self._database = database
        self._deliveries = deliveries
        self._clock = clock
        self._windows = windows
        self._delays = [timedelta(hours=hours) for hours in delays_h]

    def take_due(self) -> Iterator[list[TaskMessage]]:
        """Take every due follow-up. Yield batches to publish, each after its commit.

        The highest number comes first: a customer with several due follow-ups gets one of them,
        not all at once.
        """
        for number in reversed(range(len(self._delays))):
            while batch := self._take_batch(number):
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

        A second call with the same ``task_id`` changes nothing.

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
                due_at=now + timedelta(hours=delay_hours),
            )
            if new and silence is not None:
                self._take_next(tx, task_id, silence)

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
            followup = store.find(tx, lease.task_id) or self._take_next(tx, lease.task_id, silence)
            if followup is None:
                return _skipped(session_id, "none_left")
            delivery = find_delivery(tx, lease.task_id)
            sent = delivery is not None and delivery.state is DeliveryState.SENT
            if not sent and (reason := self._skip_reason(followup, silence)):
                abandon_delivery(tx, lease.task_id, now=self._clock())
                return _skipped(session_id, reason)
            if delivery is None:
                delivery = _delivery(followup, silence, lease)
                add_delivery(tx, delivery, now=self._clock())
        result = self._deliveries.deliver(lease, lease.task_id)
        if result["status"] == DeliveryState.UNREACHABLE:
            return _skipped(session_id, "unreachable")
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            store.add_to_history(tx, followup, delivery.text, now=self._clock())
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

    def _take_batch(self, number: int) -> list[TaskMessage]:
        now = self._clock()
        with self._database.transaction() as tx:
            until = now - self._delays[number]
            found = store.lock_silent(tx, fewer_than=number + 1, until=until, limit=BATCH)
            due = [(_task_id(silence, number), silence) for silence in found]
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

    def _take_next(self, tx: Connection, task_id: str, silence: Silence) -> FollowUp | None:
        asked = store.created_at(tx, task_id)
        number = silence.followups_taken
        if number >= len(self._delays) or (asked is not None and asked < silence.since):
            return None
        taken = FollowUp(task_id, silence.session_id, silence.since, number)
        store.record(tx, [taken], now=self._clock())
        return taken

    def _skip_reason(self, followup: FollowUp, silence: Silence) -> str | None:
        if silence.since != followup.since:
            return "customer_wrote"
        if silence.head_task_id is not None:
            return "not_answered_yet"
        if silence.chat_id is None:
            return "no_chat"
        if silence.unreachable_since is not None:
            return "unreachable"
        window_of = self._windows.get(silence.platform)
        window = window_of(silence.chat_id) if window_of else None
        if window is not None and self._clock() - silence.since >= window:
            return "window_closed"
        return None


def _task_id(silence: Silence, number: int) -> str:
    return f"followup:{silence.session_id}:{silence.since.isoformat()}:{number}"


def _task(
    task_id: str, session_id: str, channel: str, chat_id: str | None, options: Mapping[str, str]
) -> TaskMessage:
    return TaskMessage(
        task_id=task_id,
        actor=TaskName.SEND_FOLLOWUP,
        kwargs={"session_id": session_id, "channel": channel, "chat_id": chat_id},
        options=options,
    )


def _delivery(followup: FollowUp, silence: Silence, lease: Lease) -> Delivery:
    return Delivery(
        id=followup.task_id,
        session_id=followup.session_id,
        platform=silence.platform,
        chat_id=silence.chat_id or followup.session_id,
        text=FOLLOWUP_TEXTS[followup.number % len(FOLLOWUP_TEXTS)],
        trace_id=lease.trace_id,
    )


def _skipped(session_id: str, reason: str) -> dict[str, Any]:
    log.info("followup_skipped", reason=reason)
    return {"status": "skipped", "session_id": session_id, "reason": reason}
