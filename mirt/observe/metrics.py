"""THE register: every metric there is, with its labels and buckets. Another cannot be used.

Names end with their unit; what only grows ends with ``_total``. Each is explained in
docs/operations.md. What a label holds is of a small set that we know, never a customer's or a
stranger's words: each value is a series that Prometheus keeps.
"""

from collections.abc import Mapping
from typing import Final

from mirt.observe.instruments import Counter, Gauge, Histogram, Instrument, LookupGauge

QUICK: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5)
"""A webhook is answered within a second."""
OUTSIDE: Final = (0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 90)
"""The agent thinks for seconds, and a turn is over by its hard limit."""
WORK: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300)
"""From a ping to the daily removal of old rows."""
WAIT: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
"""From at once to what a customer has given up on."""

# What every process says of itself.
PROCESSES: Final = Gauge("mirt_processes", "Processes of this family that live.")
PROCESS_STARTS: Final = Counter("mirt_process_starts_total", "Processes that have begun to work.")

# The ingress.
WEBHOOKS: Final = Counter(
    "mirt_webhooks_total", "What the channels brought, and what was answered.", "channel", "outcome"
)
HTTP_SECONDS: Final = Histogram(
    "mirt_http_request_seconds", "Until a request was answered.", "route", "status", buckets=QUICK
)

# Workers and their tasks.
WORKER_THREADS: Final = Gauge("mirt_worker_threads", "Messages that can be worked on at once.")
WORKER_THREADS_BUSY: Final = Gauge("mirt_worker_threads_busy", "Messages that are worked on.")
MESSAGES_STARTED: Final = Counter(
    "mirt_messages_started_total", "Messages that a worker has taken up, copies too.", "task"
)
MESSAGES_FINISHED: Final = Counter(
    "mirt_messages_finished_total", "How it was done with them.", "task", "outcome"
)
TASK_SECONDS: Final = Histogram(
    "mirt_task_seconds", "From taking a message up to settling it.", "task", buckets=WORK
)
RETRIES: Final = Counter(
    "mirt_retries_total", "Attempts that failed and will be repeated.", "task", "error"
)
BURIED: Final = Counter(
    "mirt_buried_tasks_total", "Tasks that have failed for good.", "task", "code"
)
TICKS: Final = Counter("mirt_ticks_total", "Ticks of the schedule that were taken.", "task")
WORKER_RECYCLES: Final = Counter(
    "mirt_worker_recycles_total", "Worker processes that gave way to a successor.", "why"
)
WORKER_DEATHS: Final = Counter(
    "mirt_worker_deaths_total", "Worker processes that died without being told to.", "why"
)

# Turns, and what they do outside.
MESSAGE_WAIT: Final = Histogram(
    "mirt_message_wait_seconds",
    "From receiving a customer's message to the start of its turn.",
    "channel",
    buckets=WAIT,
)
TURN_SECONDS: Final = Histogram(
    "mirt_turn_seconds", "A turn that was closed, from its start or its last retry.",
    buckets=OUTSIDE,
)  # fmt: skip
AGENT_SECONDS: Final = Histogram(
    "mirt_agent_seconds", "Until the agent had answered.", "call", "outcome", buckets=OUTSIDE
)
LLM_TOKENS: Final = Counter("mirt_llm_tokens_total", "Tokens that were paid.", "kind", "model")
DELIVERIES: Final = Counter(
    "mirt_deliveries_total", "Parts of replies, by what the channel said.", "channel", "outcome"
)
CRM_SECONDS: Final = Histogram(
    "mirt_crm_seconds", "Until the CRM had answered.", "call", "outcome", buckets=OUTSIDE
)

# Looked up in the database by whoever is asked: the same from each ingress.
MAILBOX_MESSAGES: Final = LookupGauge("mirt_mailbox_messages", "Messages that wait to be answered.")
LONGEST_WAIT: Final = LookupGauge(
    "mirt_longest_wait_seconds", "How long a task has been waiting that no worker has begun."
)
OPEN_TASKS: Final = LookupGauge("mirt_open_tasks", "Tasks that are not over.", "task", "state")
QUEUE_TASKS: Final = LookupGauge(
    "mirt_queue_tasks", "The same by queue: ready, running, delayed.", "queue", "state"
)
DEAD_LETTERS: Final = LookupGauge(
    "mirt_dead_letters", "Tasks that failed for good, undecided.", "task", "code"
)
UNKNOWN_OUTCOMES: Final = LookupGauge(
    "mirt_unknown_outcomes", "Requests whose outcome nobody knew.", "of"
)
LAST_TICK_AGE: Final = LookupGauge(
    "mirt_last_tick_age_seconds", "How long ago a scheduled task had its tick.", "task"
)
DEPENDENCY_HEALTHY: Final = LookupGauge(
    "mirt_dependency_healthy",
    "1 where a worker has reached it when it last looked.",
    "worker",
    "dependency",
)
HEALTH_CHECK_AGE: Final = LookupGauge(
    "mirt_health_check_age_seconds", "How long ago it looked.", "worker"
)

# What RabbitMQ itself says.
RABBITMQ_READY: Final = LookupGauge(
    "mirt_rabbitmq_ready_messages", "Messages in RabbitMQ that no worker holds.", "queue"
)
RABBITMQ_CONSUMERS: Final = LookupGauge(
    "mirt_rabbitmq_consumers", "Worker processes that take work from a queue.", "queue"
)

SOURCE_READABLE: Final = LookupGauge(
    "mirt_source_readable", "1 where the figures of this answer could be looked up.", "source"
)

REGISTER: Final[Mapping[str, Instrument | LookupGauge]] = {
    metric.name: metric
    for metric in list(globals().values())
    if isinstance(metric, Instrument | LookupGauge)
}
