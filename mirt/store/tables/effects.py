"""The tables of effects outside this service: deliveries and orders."""

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    and_,
    false,
)

from mirt.store.tables.columns import ErrorText, Json, UtcDateTime, metadata

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String, primary_key=True),
    Column("session_id", String, nullable=False),
    Column("platform", String, nullable=False),
    Column("chat_id", String, nullable=False),
    Column("reply_to", String),
    Column("text", Text, nullable=False),
    # The person who wrote the text instead of the bot, and its number in the conversation.
    Column("said_by", String),
    Column("reply_number", Integer),
    Column("state", String, nullable=False),
    Column("parts_sent", Integer, nullable=False, server_default="0"),
    Column("unknown", Integer, nullable=False, server_default="0"),
    Column("error", ErrorText),
    Column("trace_id", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
)
Index("deliveries_session", deliveries.c.session_id, deliveries.c.created_at)
Index("deliveries_trace", deliveries.c.trace_id)
Index("deliveries_finished", deliveries.c.finished_at)
Index(
    "deliveries_unknown",
    deliveries.c.created_at,
    postgresql_where=deliveries.c.unknown > 0,
    sqlite_where=deliveries.c.unknown > 0,
)

orders = Table(
    "orders",
    metadata,
    Column("external_id", String, primary_key=True),
    # The task that creates the order. Another task for the same order waits until it ends.
    Column("task_id", String, nullable=False),
    Column("session_id", String, nullable=False),
    Column("source", String, nullable=False),
    Column("state", String, nullable=False),
    # Whether the CRM was ever asked to create the order. If so, the order is looked up before
    # the CRM is asked again.
    Column("asked", Boolean, nullable=False, server_default=false()),
    Column("unknown", Integer, nullable=False, server_default="0"),
    # When the last request left, until its outcome is known. It outlives the state and the task.
    Column("unknown_since", UtcDateTime),
    Column("crm_order_id", String),
    Column("status", String),
    Column("status_at", UtcDateTime),
    Column("order_data", Json, nullable=False),
    Column("error", ErrorText),
    Column("trace_id", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
Index("orders_task", orders.c.task_id)
Index("orders_trace", orders.c.trace_id)
Index(
    "orders_unknown",
    orders.c.created_at,
    postgresql_where=orders.c.unknown > 0,
    sqlite_where=orders.c.unknown > 0,
)
Index(
    "orders_to_approve",
    orders.c.updated_at,
    postgresql_where=orders.c.state == "needs_approval",
    sqlite_where=orders.c.state == "needs_approval",
)
Index("orders_created", orders.c.created_at)
Index(
    "orders_troubled",
    orders.c.updated_at,
    postgresql_where=orders.c.state.in_(["rejected", "failed", "unknown"]),
    sqlite_where=orders.c.state.in_(["rejected", "failed", "unknown"]),
)
# Orders in the CRM whose status may still change.
ORDER_IS_OPEN = and_(
    orders.c.state == "created", orders.c.status.not_in(["cancelled", "delivered", "returned"])
)
Index(
    "orders_open",
    orders.c.status_at,
    postgresql_where=ORDER_IS_OPEN,
    sqlite_where=ORDER_IS_OPEN,
)
Index("orders_crm", orders.c.crm_order_id)
Index("orders_session", orders.c.session_id)
