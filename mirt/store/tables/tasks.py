"""The tables of the queue: tasks and what holds them, events, dead letters, workers, ticks."""

from sqlalchemy import (
    Boolean,
    Column,
    Float,
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
    # Both are also in the options or the arguments. As columns they can be searched.
    Column("trace_id", String),
    Column("session_id", String),
    Column("state", String, nullable=False),
    # When the outbox publishes the task (again): the end of a delay, of the wait for a claim, or
    # of the lease.
    Column("due_at", UtcDateTime),
    Column("published_at", UtcDateTime),
    Column("publications", Integer, nullable=False, server_default="0"),
    Column("owner", String),
    # Grows with each claim. A late writer has an older fence, so its write changes nothing.
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    # Starts that have not ended. They reveal a task that kills its worker.
    Column("starts", Integer, nullable=False, server_default="0"),
    # Seconds of cooldown that the other side asked for, over all attempts.
    Column("waited_s", Integer, nullable=False, server_default="0"),
    # Steps of the task that are done, as its business counts them. The next attempt goes on there.
    Column("progress", Integer, nullable=False, server_default="0"),
    # The outside service whose outage holds the task, also while the task runs as its probe; or
    # the pause that holds it (mirt.store.queue.pauses).
    Column("held_by", String),
    # When an outage held the task for the first time. From then on its patience counts.
    Column("held_since", UtcDateTime),
    Column("error_code", String),
    # The operator who has asked to stop the task while it ran.
    Column("cancelled_by", String),
    Column("created_at", UtcDateTime, nullable=False),
    # Since when a worker could have run the task: after its delay, or after its replay.
    Column("waits_since", UtcDateTime),
    Column("first_started_at", UtcDateTime),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
)
Index("tasks_due", tasks.c.due_at, postgresql_where=tasks.c.due_at.is_not(None))
Index("tasks_finished", tasks.c.finished_at)
Index("tasks_trace", tasks.c.trace_id)
Index(
    "tasks_held",
    tasks.c.held_by,
    tasks.c.started_at,
    postgresql_where=tasks.c.held_by.is_not(None),
    sqlite_where=tasks.c.held_by.is_not(None),
)
Index("tasks_session", tasks.c.session_id, tasks.c.created_at)

holds = Table(
    "holds",
    metadata,
    # The latest outage of each outside service. It is over if ``ended_at`` is set.
    Column("service", String, primary_key=True),
    Column("since", UtcDateTime, nullable=False),
    # Status of the answer, or the name of an error; and the words of the service.
    Column("code", String, nullable=False),
    Column("reason", ErrorText, nullable=False),
    # The setting to mend if the service refuses us; null if it fails.
    Column("setting", String),
    Column("probes", Integer, nullable=False, server_default="0"),
    # When the next held task is let through as the probe.
    Column("probe_at", UtcDateTime, nullable=False),
    # The number of tasks that went on at the end.
    Column("held", Integer, nullable=False, server_default="0"),
    Column("ended_at", UtcDateTime),
)

pauses = Table(
    "pauses",
    metadata,
    # A queue, task, channel or conversation that an operator has paused, as ``queue llm``.
    Column("subject", String, primary_key=True),
    Column("since", UtcDateTime, nullable=False),
    Column("operator", String, nullable=False),
)

task_events = Table(
    "task_events",
    metadata,
    # Failures, waits and decisions. The row of the task has only its present state.
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
    # The exception without ids and numbers. Null in rows of a version that knew no causes.
    Column("cause", ErrorText),
    Column("traceback", ErrorText, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("trace_id", String),
    Column("session_id", String),
    Column("sent_at", UtcDateTime, nullable=False),
    Column("died_at", UtcDateTime, nullable=False),
)
Index("dead_letters_cause", dead_letters.c.error_code, dead_letters.c.cause)
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
    # Why it receives nothing from a queue, or cannot publish; null if all is well.
    Column("problems", Json),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    # Seconds by which the clock of its machine is ahead of this database's.
    Column("clock_ahead_s", Float),
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
