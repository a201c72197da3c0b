"""The table of webhooks: whether messages of a channel can arrive."""

from sqlalchemy import Boolean, Column, Integer, String, Table

from mirt.store.tables.columns import ErrorText, UtcDateTime, metadata

webhooks = Table(
    "webhooks",
    metadata,
    Column("channel", String, primary_key=True),
    # The address that an operator has set, or the first one that was seen.
    Column("expected_url", String),
    # The address to which the platform sends; empty if there is none, null if it is not known.
    Column("url", String),
    Column("pending", Integer, nullable=False, server_default="0"),
    Column("last_error", ErrorText),
    Column("last_error_at", UtcDateTime),
    # Why the platform refused the check, and why it gives no updates to our poller.
    Column("failure", ErrorText),
    Column("polling_failure", ErrorText),
    # Whether the service fetches the updates itself while there is no address.
    Column("is_polled", Boolean, nullable=False),
    Column("last_message_at", UtcDateTime),
    Column("checked_at", UtcDateTime),
)
