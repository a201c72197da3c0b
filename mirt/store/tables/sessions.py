"""The table of operators' sessions that ended before their time."""

from sqlalchemy import Column, String, Table

from mirt.store.tables.columns import UtcDateTime, metadata

ended_sessions = Table(
    "ended_sessions",
    metadata,
    Column("id", String, primary_key=True),
    # The end that its cookie has by itself: from then on the row is not needed.
    Column("until", UtcDateTime, nullable=False),
)
