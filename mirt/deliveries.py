"""Deliver replies: each part is sent once, or its unknown outcome is recorded.

No channel has an idempotency key. So each request is announced in the database before it is sent
and settled after its answer. A run that finds a part announced and not settled knows that its
outcome is unknown: it counts the unknown outcome and sends the part again.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy import Connection

from mirt.channels import Channel, MarkingChannel, Marks
from mirt.clock import Clock
from mirt.errors import (
    CooldownError,
    ErrorCode,
    LeaseLostError,
    OutcomeUnknownError,
    PermanentError,
    RateLimitError,
    RetryableError,
    SoftTimeLimitExceeded,
    UnreachableError,
)
from mirt.observe import metrics, traces
from mirt.store.engine.database import Database
from mirt.store.engine.retrying import commit_with_retry
from mirt.store.queue import leases
from mirt.store.queue.leases import Lease
from mirt.store.queue.progress import read_progress, record_progress
from mirt.store.shared.cooldowns import Cooldowns
from mirt.store.shop import deliveries as store
from mirt.store.shop import handovers
from mirt.store.shop import turn_steps as steps
from mirt.store.shop.deliveries import Delivery, DeliveryState

log = structlog.get_logger(__name__)

T = TypeVar("T")

MOST_PARTS: Final = 20
"""Messages that one reply becomes at most; the rest of its text is left out."""


class Deliveries:
    """The sender of replies, through the channel of each conversation."""

    def __init__(
        self,
        database: Database,
        channels: Mapping[str, Channel],
        clock: Clock,
        cooldowns: Cooldowns,
    ) -> None:
        self._database = database
        self._channels = channels
        self._clock = clock
        self._cooldowns = cooldowns

    def deliver(self, lease: Lease, delivery_id: str) -> dict[str, Any]:
        """Send the parts of the delivery that have not been sent, and return its result.

        Its ``status`` is ``sent``, ``unreachable`` if the customer takes no messages from us, or
        ``withheld`` if a person has the conversation.

        Raises:
            RateLimitError, ExternalServiceError: the next attempt sends the rest.
            PermanentError: CHANNEL_REFUSED, the delivery has failed; INVALID_INPUT, the platform
                or the delivery is unknown; EMPTY_MESSAGE, the text is blank.
            LeaseLostError: another worker has the task.
        """
        return self.deliver_and_end(lease, delivery_id, lambda _: None)[0]

    def deliver_and_end(
        self, lease: Lease, delivery: Delivery | str, end: Callable[[Connection], T]
    ) -> tuple[dict[str, Any], T]:
        """Deliver as ``deliver`` does, and call ``end`` in the transaction of its last outcome.

        ``delivery`` is an id, or a delivery that this run has just announced: its first part is
        sent at once. ``end`` may be called again if a commit was not confirmed. Returns the result
        of the delivery and of ``end``. Raises as ``deliver``.
        """
        if isinstance(delivery, str):
            is_announced, delivery = False, self._resume(lease, delivery)
        else:
            is_announced = True
        channel, parts = self._parts_of(delivery)
        ended: list[T] = []

        def end_once(tx: Connection) -> None:
            ended.append(end(tx))

        while delivery.state not in store.ENDED:
            if not is_announced and not self._announce(lease, channel, delivery, end_once):
                delivery = replace(delivery, state=DeliveryState.WITHHELD)
                break
            is_announced = False
            delivery = self._send_part(lease, channel, delivery, parts, end_once)
        if not ended:
            with self._database.transaction() as tx:
                ended.append(end(tx))
        result = {
            "status": delivery.state.value,
            "platform": delivery.platform,
            "chat_id": delivery.chat_id,
            "parts": delivery.parts_sent,
        }
        return result, ended[-1]

    def announced(self, delivery: Delivery) -> Delivery:
        """Return a new delivery as ``sending`` if its first part may be sent right away.

        The caller stores it like that, and then calls ``deliver_and_end`` with it. During a
        cooldown, and for a text that no channel takes, it stays ``pending``.
        """
        channel = self._channels.get(delivery.platform)
        if channel is None or not channel.split(delivery.text, delivery.chat_id):
            return delivery
        try:
            self._cooldowns.check(channel.rate_limit_scope(delivery.chat_id))
        except CooldownError:
            return delivery
        return replace(delivery, state=DeliveryState.SENDING)

    def mark(self, lease: Lease, platform: str, chat_id: str, marks: Marks) -> dict[str, Any]:
        """Set the marks of a customer on the platform, and return the result of the task.

        A platform that keeps no marks is skipped. Another attempt, or a replay, goes on after the
        marks that were set.

        Raises:
            LeaseLostError: another worker has the task.
            RateLimitError, ExternalServiceError, PermanentError: as ``MarkingChannel.mark``.
        """
        channel = self._channels.get(platform)
        about = {"platform": platform, "chat_id": chat_id}
        if not isinstance(channel, MarkingChannel):
            return {"status": "skipped", **about, "reason": "keeps_no_marks"}
        attributes = {"mirt.platform": platform}
        with (
            self._respecting_cooldown(channel, chat_id),
            traces.span("mark customer", attributes=attributes),
        ):
            with self._database.transaction() as tx:
                done = read_progress(tx, lease)
            channel.mark(chat_id, marks, done=done, report=partial(self._marked, lease))
        return {"status": "marked", **about}

    def _marked(self, lease: Lease, done: int) -> None:
        commit_with_retry(self._database, lambda tx: record_progress(tx, lease, done))

    def _resume(self, lease: Lease, delivery_id: str) -> Delivery:
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            delivery = store.find_delivery(tx, delivery_id)
            if delivery is None and handovers.was_withheld(tx, delivery_id):
                # Its mail waits again, and the row of the task decides what happens next.
                raise LeaseLostError(f"the reply {delivery_id} was withheld")
            if delivery is None:
                raise PermanentError(f"no delivery {delivery_id}", ErrorCode.INVALID_INPUT)
            if delivery.state is not DeliveryState.SENDING:
                return delivery
            store.part_not_sent(tx, delivery, error="its worker was lost", unknown=True)
        _count(delivery, "unknown")
        log.warning("delivery_unknown", delivery=delivery_id, why="its worker was lost")
        return replace(delivery, state=DeliveryState.PENDING, unknown=delivery.unknown + 1)

    def _parts_of(self, delivery: Delivery) -> tuple[Channel, list[str]]:
        channel = self._channels.get(delivery.platform)
        if channel is None:
            known = ", ".join(sorted(self._channels))
            raise PermanentError(f"platform: must be one of {known}", ErrorCode.INVALID_INPUT)
        parts = channel.split(delivery.text, delivery.chat_id)
        if not parts:
            raise PermanentError("response_text: it is blank", ErrorCode.EMPTY_MESSAGE)
        if len(parts) > MOST_PARTS:
            log.warning("reply_cut", delivery=delivery.id, parts=len(parts), sent=MOST_PARTS)
        return channel, parts[:MOST_PARTS]

    def _announce(
        self,
        lease: Lease,
        channel: Channel,
        delivery: Delivery,
        end: Callable[[Connection], object],
    ) -> bool:
        """Write that the next part is about to be sent.

        If a person has the conversation, withhold the delivery, together with ``end``, and return
        False.
        """
        self._cooldowns.check(channel.rate_limit_scope(delivery.chat_id))
        with self._database.transaction() as tx:
            reads = [handovers.reading_voice(delivery.session_id)]
            [voice] = leases.verify_and_read(tx, lease, reads)
            if handovers.may_speak(voice, delivery):
                if not store.begin_part(tx, delivery):
                    raise LeaseLostError(f"the delivery {delivery.id} was withheld meanwhile")
                return True
            is_answered = handovers.has_answered(voice)
            handovers.withhold(tx, delivery, answered_by_person=is_answered, now=self._clock())
            end(tx)
        _count(delivery, "withheld")
        log.info("reply_withheld", delivery=delivery.id)
        return False

    def _send_part(
        self,
        lease: Lease,
        channel: Channel,
        delivery: Delivery,
        parts: list[str],
        end: Callable[[Connection], object],
    ) -> Delivery:
        """Send an announced part and record its outcome; the last part with ``end``."""
        leases.ensure_held(self._database, lease, self._clock)
        index, began = delivery.parts_sent, self._clock()
        attributes = {
            "mirt.platform": delivery.platform,
            "mirt.part": index + 1,
            "mirt.parts": len(parts),
        }
        try:
            with (
                self._starting_cooldown(channel, delivery.chat_id),
                traces.span("deliver part", attributes=attributes),
            ):
                receipt = channel.send(
                    delivery.chat_id,
                    parts[index],
                    reply_to=delivery.reply_to if index == 0 else None,
                )
        except (OutcomeUnknownError, SoftTimeLimitExceeded) as lost:
            self._not_sent(delivery, lost, unknown=True)
            raise
        except RetryableError as failed:
            self._not_sent(delivery, failed, unknown=False)
            raise
        except UnreachableError as blocked:
            return self._block(delivery, blocked, began, end)
        except PermanentError as refused:
            why, now = refused.message, self._clock()
            self._settle(lambda tx: store.part_refused(tx, delivery, error=why, now=now))
            _count(delivery, "refused")
            raise
        last, now = index + 1 >= len(parts), self._clock()

        def settle(tx: Connection) -> None:
            steps.record_part_sent(tx, delivery, last=last, chat_id=receipt.chat_id, now=now)
            if last:
                end(tx)

        self._settle(settle)
        _count(delivery, "sent")
        log.info("delivered", delivery=delivery.id, part=index + 1, parts=len(parts))
        return replace(
            delivery,
            parts_sent=index + 1,
            chat_id=receipt.chat_id,
            state=DeliveryState.SENT if last else DeliveryState.PENDING,
        )

    def _block(
        self,
        delivery: Delivery,
        blocked: UnreachableError,
        began: datetime,
        end: Callable[[Connection], object],
    ) -> Delivery:
        """Record that the customer takes no messages, together with ``end``: nothing else comes."""
        why, now = blocked.message, self._clock()

        def settle(tx: Connection) -> None:
            store.part_blocked(tx, delivery, error=why, began=began, now=now)
            end(tx)

        self._settle(settle)
        _count(delivery, "unreachable")
        log.info("unreachable", delivery=delivery.id, why=why)
        return replace(delivery, state=DeliveryState.UNREACHABLE)

    @contextmanager
    def _respecting_cooldown(self, channel: Channel, chat_id: str) -> Iterator[None]:
        """Raise ``CooldownError`` during a cooldown, and start one if the body is rate limited."""
        self._cooldowns.check(channel.rate_limit_scope(chat_id))
        with self._starting_cooldown(channel, chat_id):
            yield

    @contextmanager
    def _starting_cooldown(self, channel: Channel, chat_id: str) -> Iterator[None]:
        """Start a cooldown if the body is rate limited."""
        try:
            yield
        except CooldownError:
            raise
        except RateLimitError as limited:
            self._cooldowns.start(channel.rate_limit_scope(chat_id), limited.retry_after)
            raise

    def _not_sent(self, delivery: Delivery, error: Exception, *, unknown: bool) -> None:
        why = str(error)
        self._settle(lambda tx: store.part_not_sent(tx, delivery, error=why, unknown=unknown))
        _count(delivery, "unknown" if unknown else "retried")
        if unknown:
            log.warning("delivery_unknown", delivery=delivery.id, why=why)

    def _settle(self, write: Callable[[Connection], None]) -> None:
        """Store the answer of the channel with retries: it cannot be asked for again."""
        commit_with_retry(self._database, write)


def _count(delivery: Delivery, outcome: str) -> None:
    metrics.DELIVERIES.inc(channel=delivery.platform, outcome=outcome)
