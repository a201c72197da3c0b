"""Deliver replies: each part is sent once, or its unknown outcome is recorded.

No channel has an idempotency key. So each request is announced in the database before it is sent
and settled after its answer. A run that finds a part announced and not settled knows that its
outcome is unknown: it counts the unknown outcome and sends the part again.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import Connection

from mirt.channels import Channel, MarkingChannel, Marks
from mirt.clock import Clock
from mirt.errors import (
    CooldownError,
    ErrorCode,
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
from mirt.store.shared.cooldowns import Cooldowns
from mirt.store.shop import deliveries as store
from mirt.store.shop.deliveries import Delivery, DeliveryState

log = structlog.get_logger(__name__)


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

        Its ``status`` is ``sent``, or ``unreachable`` if the customer takes no messages from us.

        Raises:
            RateLimitError, ExternalServiceError: the next attempt sends the rest.
            PermanentError: CHANNEL_REFUSED, the delivery has failed; INVALID_INPUT, the platform
                or the delivery is unknown; EMPTY_MESSAGE, the text is blank.
            LeaseLostError: another worker has the task.
        """
        delivery = self._resume(lease, delivery_id)
        channel = self._channels.get(delivery.platform)
        if channel is None:
            known = ", ".join(sorted(self._channels))
            raise PermanentError(f"platform: must be one of {known}", ErrorCode.INVALID_INPUT)
        parts = channel.split(delivery.text, delivery.chat_id)
        if not parts:
            raise PermanentError("response_text: it is blank", ErrorCode.EMPTY_MESSAGE)
        while delivery.state not in {DeliveryState.SENT, DeliveryState.UNREACHABLE}:
            delivery = self._send_part(lease, channel, delivery, parts)
        return {
            "status": delivery.state.value,
            "platform": delivery.platform,
            "chat_id": delivery.chat_id,
            "parts": delivery.parts_sent,
        }

    def mark(self, platform: str, chat_id: str, marks: Marks) -> dict[str, Any]:
        """Set the marks of a customer on the platform, and return the result of the task.

        A platform that keeps no marks is skipped.

        Raises:
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
            channel.mark(chat_id, marks)
        return {"status": "marked", **about}

    def sent_in(self, trace_id: str) -> list[str]:
        """Return the texts of the deliveries of this trace that were sent completely."""
        with self._database.transaction() as tx:
            found = store.traced(tx, trace_id)
        return [delivery.text for delivery in found if delivery.state is DeliveryState.SENT]

    def _resume(self, lease: Lease, delivery_id: str) -> Delivery:
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            delivery = store.find_delivery(tx, delivery_id)
            if delivery is None:
                raise PermanentError(f"no delivery {delivery_id}", ErrorCode.INVALID_INPUT)
            if delivery.state is not DeliveryState.SENDING:
                return delivery
            store.part_not_sent(tx, delivery, error="its worker was lost", unknown=True)
        _count(delivery, "unknown")
        log.warning("delivery_unknown", delivery=delivery_id, why="its worker was lost")
        return replace(delivery, state=DeliveryState.PENDING, unknown=delivery.unknown + 1)

    def _send_part(
        self, lease: Lease, channel: Channel, delivery: Delivery, parts: list[str]
    ) -> Delivery:
        self._cooldowns.check(channel.rate_limit_scope(delivery.chat_id))
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            store.begin_part(tx, delivery)
        index, began = delivery.parts_sent, self._clock()
        attributes = {
            "mirt.platform": delivery.platform,
            "mirt.part": index + 1,
            "mirt.parts": len(parts),
        }
        try:
            with (
                self._respecting_cooldown(channel, delivery.chat_id),
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
        except UnreachableError as refused:
            why, now = refused.message, self._clock()
            self._settle(
                lambda tx: store.part_blocked(tx, delivery, error=why, began=began, now=now)
            )
            _count(delivery, "unreachable")
            log.info("unreachable", delivery=delivery.id, why=why)
            return replace(delivery, state=DeliveryState.UNREACHABLE)
        except PermanentError as refused:
            why, now = refused.message, self._clock()
            self._settle(lambda tx: store.part_refused(tx, delivery, error=why, now=now))
            _count(delivery, "refused")
            raise
        last, now = index + 1 >= len(parts), self._clock()
        self._settle(
            lambda tx: store.part_sent(tx, delivery, last=last, chat_id=receipt.chat_id, now=now)
        )
        _count(delivery, "sent")
        log.info("delivered", delivery=delivery.id, part=index + 1, parts=len(parts))
        return replace(
            delivery,
            parts_sent=index + 1,
            chat_id=receipt.chat_id,
            state=DeliveryState.SENT if last else DeliveryState.PENDING,
        )

    @contextmanager
    def _respecting_cooldown(self, channel: Channel, chat_id: str) -> Iterator[None]:
        """Raise ``CooldownError`` during a cooldown, and start one if the body is rate limited."""
        self._cooldowns.check(channel.rate_limit_scope(chat_id))
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
