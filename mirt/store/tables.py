"""The tables, as the code sees them. The migrations make them; a test compares the two."""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)
from sqlalchemy.dialects.postgresql import JSONB

from mirt.observe.secrets import struck_out


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time; SQLite, which knows no zones, keeps it in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Refuse a time without a zone; it would mean something else in each place."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class ErrorText(TypeDecorator[str]):
    """What an error has said, without the secrets that it may have quoted."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        """Strike them out."""
        return None if value is None else struck_out(value)


Json = JSON().with_variant(JSONB(), "postgresql")
Serial = BigInteger().with_variant(Integer(), "sqlite")
metadata = MetaData()

conversations = Table(
    "conversations",
    metadata,
    Column("session_id", String, primary_key=True),
    Column("platform", String, nullable=False),
    Column("chat_id", String),
    Column("user_id", String),
    Column("customer_name", String),
    # The task whose turn it is; null when nobody waits.
    Column("head_task_id", String),
    Column("summary", Text),
    Column("summarised_at", UtcDateTime),
    # Messages of the history up to this one belong to a conversation the customer has closed.
    Column("restarted_after", Serial, nullable=False, server_default="0"),
    Column("last_customer_at", UtcDateTime, nullable=False),
    # Follow-ups taken since the customer's last message, and whether what was said since the last
    # summary is to go into one. The customer's next message sets both back.
    Column("followups_taken", Integer, nullable=False, server_default="0"),
    Column("summary_awaited", Boolean, nullable=False, server_default=false()),
    Column("order_status", String),
    Column("created_at", UtcDateTime, nullable=False),
)
Index("conversations_silent", conversations.c.followups_taken, conversations.c.last_customer_at)
Index(
    "conversations_unsummarised",
    conversations.c.last_customer_at,
    postgresql_where=conversations.c.summary_awaited,
    sqlite_where=conversations.c.summary_awaited,
)

Index("conversations_latest", conversations.c.last_customer_at, conversations.c.session_id)
Index(
    "conversations_waiting",
    conversations.c.last_customer_at,
    postgresql_where=conversations.c.head_task_id.is_not(None),
    sqlite_where=conversations.c.head_task_id.is_not(None),
)
for _searched in ("session_id", "user_id", "customer_name"):
    # Beginnings of a text are found by byte order, whatever the collation of the database.
    Index(
        f"conversations_by_{_searched}",
        conversations.c[_searched],
        postgresql_ops={_searched: "text_pattern_ops"},
    )

inbox = Table(
    "inbox",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("task_id", String, nullable=False, unique=True),
    Column("session_id", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("platform", String, nullable=False),
    Column("chat_id", String),
    Column("user_id", String),
    Column("message_id", String),
    Column("metadata", Json, nullable=False),
    Column("trace_id", String, nullable=False),
    # Where in the trace it was accepted: the W3C headers of that place.
    Column("trace_context", Json, nullable=False, server_default="{}"),
    Column("state", String, nullable=False),
    # The turn that has taken it: the task id of the turn's head.
    Column("turn_id", String),
    Column("received_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
)
Index("inbox_waiting", inbox.c.session_id, inbox.c.id, postgresql_where=inbox.c.state == "waiting")
Index("inbox_session", inbox.c.session_id, inbox.c.received_at)
Index("inbox_turn", inbox.c.turn_id)
Index("inbox_trace", inbox.c.trace_id)
Index("inbox_message", inbox.c.message_id)
Index("inbox_finished", inbox.c.finished_at)

turns = Table(
    "turns",
    metadata,
    # A row here means that the agent has answered and is not to be asked again.
    Column("id", String, primary_key=True),
    Column("session_id", String, nullable=False),
    Column("reply", Text, nullable=False),
    Column("model", String, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    # What the agent wanted to have done, and what became of it: the task, or why not.
    Column("actions", Json, nullable=False, server_default="[]"),
    Column("answered_at", UtcDateTime, nullable=False),
)
Index("turns_session", turns.c.session_id, turns.c.answered_at)

history = Table(
    "history",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("session_id", String, nullable=False),
    Column("role", String, nullable=False),
    Column("content", Text, nullable=False),
    Column("turn_id", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
Index("history_session", history.c.session_id, history.c.id)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String, primary_key=True),
    Column("session_id", String, nullable=False),
    Column("platform", String, nullable=False),
    Column("chat_id", String, nullable=False),
    Column("reply_to", String),
    Column("text", Text, nullable=False),
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

followups = Table(
    "followups",
    metadata,
    Column("task_id", String, primary_key=True),
    Column("session_id", String, nullable=False),
    # The silence that it belongs to began with the customer's message of this time.
    Column("since", UtcDateTime, nullable=False),
    Column("number", Integer, nullable=False),
    Column("taken_at", UtcDateTime, nullable=False),
    # None is sent twice in one silence.
    UniqueConstraint("session_id", "since", "number", name="followups_once"),
)
Index("followups_session", followups.c.session_id, followups.c.taken_at)

tasks = Table(
    "tasks",
    metadata,
    Column("id", String, primary_key=True),
    Column("actor", String, nullable=False),
    Column("args", Json, nullable=False),
    Column("kwargs", Json, nullable=False),
    Column("options", Json, nullable=False),
    # Also in options and arguments; here they can be searched for.
    Column("trace_id", String),
    Column("session_id", String),
    Column("state", String, nullable=False),
    # When the outbox is to publish it (again): a delay, a lost publication, a lease that ran out.
    Column("due_at", UtcDateTime),
    Column("published_at", UtcDateTime),
    Column("publications", Integer, nullable=False, server_default="0"),
    Column("owner", String),
    # Grows with each claim: a late writer knows the fence that it claimed with, and is told apart.
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    # Starts that have not ended: a message that kills its worker is known by them.
    Column("starts", Integer, nullable=False, server_default="0"),
    # Seconds that the other side has asked us to wait, over all attempts.
    Column("waited_s", Integer, nullable=False, server_default="0"),
    Column("error_code", String),
    Column("created_at", UtcDateTime, nullable=False),
    Column("first_started_at", UtcDateTime),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
)
Index("tasks_due", tasks.c.due_at, postgresql_where=tasks.c.due_at.is_not(None))
Index("tasks_finished", tasks.c.finished_at)
Index("tasks_trace", tasks.c.trace_id)
Index("tasks_session", tasks.c.session_id, tasks.c.created_at)

task_events = Table(
    "task_events",
    metadata,
    # What happened to a task beside its being done at once: its row knows only how it is now.
    Column("id", Serial, primary_key=True),
    Column("task_id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("code", String),
    Column("why", ErrorText),
    Column("until", UtcDateTime),
    Column("at", UtcDateTime, nullable=False),
)
Index("task_events_task", task_events.c.task_id)
Index("task_events_at", task_events.c.at)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("task_id", String, nullable=False, unique=True),
    Column("queue", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("args", Json, nullable=False),
    Column("kwargs", Json, nullable=False),
    Column("options", Json, nullable=False),
    Column("error_code", String, nullable=False),
    Column("exception", ErrorText, nullable=False),
    Column("traceback", ErrorText, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("trace_id", String),
    Column("session_id", String),
    Column("sent_at", UtcDateTime, nullable=False),
    Column("died_at", UtcDateTime, nullable=False),
)
Index("dead_letters_died", dead_letters.c.died_at)
Index("dead_letters_trace", dead_letters.c.trace_id)
Index("dead_letters_session", dead_letters.c.session_id)

workers = Table(
    "workers",
    metadata,
    Column("id", String, primary_key=True),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("queues", Json, nullable=False),
    Column("threads", Integer, nullable=False),
    Column("finished", Integer, nullable=False),
    Column("memory_mb", Integer, nullable=False),
    Column("stopping", Boolean, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)

health_checks = Table(
    "health_checks",
    metadata,
    Column("worker_id", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("checks", Json, nullable=False),
    Column("checked_at", UtcDateTime, nullable=False),
)

ticks = Table(
    "ticks",
    metadata,
    Column("task", String, primary_key=True),
    Column("last_at", UtcDateTime, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("external_id", String, primary_key=True),
    # The task that creates it; another of the same order waits for its end.
    Column("task_id", String, nullable=False),
    Column("session_id", String, nullable=False),
    Column("source", String, nullable=False),
    Column("state", String, nullable=False),
    # Whether the CRM was ever asked to create it: then it is looked up before it is asked again.
    Column("asked", Boolean, nullable=False, server_default=false()),
    Column("unknown", Integer, nullable=False, server_default="0"),
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
Index("orders_crm", orders.c.crm_order_id)
Index("orders_session", orders.c.session_id)
