"""Which follow-ups are due, and what is sent, if it is still wanted in the moment of sending.

A follow-up is *taken* (given its number in its silence) in the transaction that queues it, so it is
queued once, however many look. It is cancelled by what makes it wrong: the customer has written.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
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

"""The task that sends a follow-up."""
BATCH: Final = 100
LONGEST_DELAY_H: Final = 24 * 365
WINDOWS: Final = {"manychat": timedelta(hours=24)}
"""How long after the customer's last message a platform lets us write: Meta's rule for Instagram,
Messenger and WhatsApp. Telegram has no such window."""


class FollowUps:
    """The follow-ups of all conversations; ``delays_h`` after the customer's last message each."""

    def __init__(
        self, database: Database, deliveries: Deliveries, clock: Clock, *, delays_h: Sequence[int]
    ) -> None:
        self._database = database
        self._deliveries = deliveries
        self._clock = clock
        self._delays = [timedelta(hours=hours) for hours in delays_h]

    def take_due(self) -> Iterator[list[TaskMessage]]:
        """Take every follow-up that is due; batches to publish, each committed before it is given.

        The latest first: whom nobody has looked after for long gets one follow-up, not all at once.
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
        """Queue the next follow-up for then; the customer's next message cancels it.

        Twice with the same ``task_id`` is once.

        Raises:
            PermanentError: INVALID_INPUT, the delay is not one.
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
                _publication(
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
        """Send the follow-up of this task on the channel that its conversation came from.

        ``channel`` and ``chat_id`` count only for a conversation that came from none. A second run,
        after a failure or a crash, goes on with the same follow-up. One that is not wanted any more
        is skipped, with the reason.

        Raises:
            RateLimitError, ExternalServiceError, PermanentError: as ``Deliveries.deliver``.
            LeaseLostError: another worker has it.
        """
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            silence = store.lock_silence(tx, session_id)
            if silence is None:
                return _skipped(session_id, "no_conversation")
            if silence.chat_id is None:
                silence = replace(silence, platform=channel, chat_id=chat_id)
            mine = store.find(tx, lease.task_id) or self._take_next(tx, lease.task_id, silence)
            if mine is None:
                return _skipped(session_id, "none_left")
            delivery = find_delivery(tx, lease.task_id)
            sent = delivery is not None and delivery.state is DeliveryState.SENT
            if not sent and (reason := self._why_not(mine, silence)):
                abandon_delivery(tx, lease.task_id, now=self._clock())
                return _skipped(session_id, reason)
            if delivery is None:
                delivery = _delivery(mine, silence, lease)
                add_delivery(tx, delivery, now=self._clock())
        self._deliveries.deliver(lease, lease.task_id)
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            store.add_to_history(tx, mine, delivery.text, now=self._clock())
        return {
            "status": "sent",
            "session_id": session_id,
            "content": delivery.text,
            "tags": [f"followup_{mine.number + 1}"],
            "channel": delivery.platform,
        }

    def failed(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Note that a follow-up will not be sent, in the transaction of its dead letter."""
        abandon_delivery(tx, task_id, now=self._clock())
        return []

    def reopened(self, tx: Connection, task_id: str) -> bool:
        """Let a follow-up whose delivery has failed be tried again; it may run at once."""
        reopen_delivery(tx, task_id)
        return True

    def purged(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Settle a removed follow-up as one that has failed."""
        return self.failed(tx, task_id)

    def _take_batch(self, number: int) -> list[TaskMessage]:
        now = self._clock()
        with self._database.transaction() as tx:
            until = now - self._delays[number]
            found = store.lock_silent(tx, fewer_than=number + 1, until=until, limit=BATCH)
            due = [(_task_id(one, number), one) for one in found]
            if due:
                taken = [FollowUp(id_, one.session_id, one.since, number) for id_, one in due]
                store.record(tx, taken, now=now)
            batch = [
                _publication(
                    id_,
                    one.session_id,
                    one.platform,
                    one.chat_id,
                    traces.new_options(TaskName.SEND_FOLLOWUP),
                )
                for id_, one in due
            ]
            for publication in batch:
                outbox.add(tx, publication, now=now)
        return batch

    def _take_next(self, tx: Connection, task_id: str, silence: Silence) -> FollowUp | None:
        asked = store.created_at(tx, task_id)
        number = silence.followups_taken
        if number >= len(self._delays) or (asked is not None and asked < silence.since):
            return None
        taken = FollowUp(task_id, silence.session_id, silence.since, number)
        store.record(tx, [taken], now=self._clock())
        return taken

    def _why_not(self, mine: FollowUp, silence: Silence) -> str | None:
        if silence.since != mine.since:
            return "customer_wrote"
        if silence.head_task_id is not None:
            return "not_answered_yet"
        if silence.chat_id is None:
            return "no_chat"
        window = WINDOWS.get(silence.platform)
        if window is not None and self._clock() - silence.since >= window:
            return "window_closed"
        return None


def _task_id(silence: Silence, number: int) -> str:
    return f"followup:{silence.session_id}:{silence.since.isoformat()}:{number}"


def _publication(
    task_id: str, session_id: str, channel: str, chat_id: str | None, options: Mapping[str, str]
) -> TaskMessage:
    return TaskMessage(
        task_id=task_id,
        actor=TaskName.SEND_FOLLOWUP,
        kwargs={"session_id": session_id, "channel": channel, "chat_id": chat_id},
        options=options,
    )


def _delivery(mine: FollowUp, silence: Silence, lease: Lease) -> Delivery:
    return Delivery(
        id=mine.task_id,
        session_id=mine.session_id,
        platform=silence.platform,
        chat_id=silence.chat_id or mine.session_id,
        text=FOLLOWUP_TEXTS[mine.number % len(FOLLOWUP_TEXTS)],
        trace_id=lease.trace_id,
    )


def _skipped(session_id: str, reason: str) -> dict[str, Any]:
    log.info("followup_skipped", reason=reason)
    return {"status": "skipped", "session_id": session_id, "reason": reason}
