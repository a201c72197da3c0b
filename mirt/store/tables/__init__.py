"""The tables as the code uses them. The migrations create them; a test compares the two."""

from mirt.store.tables.audit import audit
from mirt.store.tables.columns import UtcDateTime, metadata
from mirt.store.tables.conversations import (
    conversations,
    followups,
    handover_events,
    history,
    inbox,
    turns,
)
from mirt.store.tables.effects import deliveries, orders
from mirt.store.tables.schema import schema_versions
from mirt.store.tables.sessions import ended_sessions
from mirt.store.tables.tasks import (
    dead_letters,
    health_checks,
    holds,
    pauses,
    task_events,
    tasks,
    ticks,
    workers,
)
from mirt.store.tables.webhooks import webhooks

__all__ = [
    "UtcDateTime",
    "audit",
    "conversations",
    "dead_letters",
    "deliveries",
    "ended_sessions",
    "followups",
    "handover_events",
    "health_checks",
    "history",
    "holds",
    "inbox",
    "metadata",
    "orders",
    "pauses",
    "schema_versions",
    "task_events",
    "tasks",
    "ticks",
    "turns",
    "webhooks",
    "workers",
]
