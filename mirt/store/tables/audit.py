"""The table of the audit: what operators did."""

from sqlalchemy import Column, Index, Integer, String, Table

from mirt.store.tables.columns import ErrorText, Serial, UtcDateTime, metadata

audit = Table(
    "audit",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("operator", String, nullable=False),
    Column("door", String, nullable=False),
    Column("act", String, nullable=False),
    # The object in words, and its conversation if it is one: to forget a customer clears both.
    Column("target", ErrorText),
    Column("session_id", String),
    Column("count", Integer),
    Column("outcome", String, nullable=False),
)
Index("audit_at", audit.c.at)
Index("audit_session", audit.c.session_id)
