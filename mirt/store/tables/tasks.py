"""What is to be done and who does it: tasks, dead letters, workers, ticks."""

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    Integer,
    String,
    Table,
)

from mirt.store.tables.columns import ErrorText, Json, Serial, UtcDateTime, metadata

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
    # Since when a worker could have run it: a delay comes before, and so does having been dead.
    Column("waits_since", UtcDateTime),
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
