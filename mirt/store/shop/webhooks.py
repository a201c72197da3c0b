"""Store what the platforms say about our webhooks: one row for each channel."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, select

from mirt.store.engine.database import upsert
from mirt.store.tables import conversations, webhooks

LOOK_BACK: Final = timedelta(days=7)
"""How far a query for the last message of a channel goes back."""


@dataclass(frozen=True, slots=True)
class WebhookState:
    """The webhook of a channel at its last check.

    ``url`` is the address to which the platform sends: empty if there is none, None if it is not
    known. ``failure`` is why the platform refused the check, ``polling_failure`` why it gives no
    updates to the poller of this service.
    """

    channel: str
    is_polled: bool = False
    """Whether the service fetches the updates itself while there is no address."""
    expected_url: str | None = None
    url: str | None = None
    pending: int = 0
    last_error: str | None = None
    last_error_at: datetime | None = None
    failure: str | None = None
    polling_failure: str | None = None
    last_message_at: datetime | None = None
    checked_at: datetime | None = None


def read(tx: Connection) -> list[WebhookState]:
    """Return the states of all channels, by name."""
    rows = tx.execute(select(webhooks).order_by(webhooks.c.channel))
    return [WebhookState(**row._mapping) for row in rows]


def lock(tx: Connection, channel: str) -> WebhookState | None:
    """Return the state of a channel, and lock it until the transaction ends; None if it has none.

    Two first writers of a channel both find none; the later one wins.
    """
    row = tx.execute(
        select(webhooks).where(webhooks.c.channel == channel).with_for_update()
    ).one_or_none()
    return None if row is None else WebhookState(**row._mapping)


def write(tx: Connection, state: WebhookState) -> None:
    """Store the state of a channel in place of its last one."""
    values = asdict(state)
    tx.execute(
        upsert(tx, webhooks)
        .values(values)
        .on_conflict_do_update(index_elements=[webhooks.c.channel], set_=values)
    )


def last_messages(
    tx: Connection, channels: Collection[str], *, now: datetime
) -> Mapping[str, datetime]:
    """Return the time of the last message of each of these channels within ``LOOK_BACK``.

    Each is the first match of an index, which is read from its end.
    """
    latest = [
        select(conversations.c.last_customer_at)
        .where(
            conversations.c.last_customer_at > now - LOOK_BACK,
            conversations.c.platform == channel,
        )
        .order_by(conversations.c.last_customer_at.desc(), conversations.c.session_id.desc())
        .limit(1)
        .scalar_subquery()
        for channel in channels
    ]
    if not latest:
        return {}
    times = tx.execute(select(*latest)).one()
    return {name: at for name, at in zip(channels, times, strict=True) if at is not None}
