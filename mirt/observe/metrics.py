"""Lists every metric with its labels and buckets. No other metric can be used.

A name ends with its unit, and a counter ends with ``_total``. docs/operations.md explains each
metric. Label values come from a small known set, never from outside: each value is a series in
Prometheus.
"""

from collections.abc import Mapping
from typing import Final

from mirt.observe.instruments import (
    LATEST,
    Counter,
    Gauge,
    Histogram,
    Instrument,
    LookupGauge,
)

QUICK: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5)
"""For HTTP requests: a webhook is answered within a second."""
OUTSIDE: Final = (0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 90)
"""For calls outside: the LLM takes seconds, and a turn ends by its hard limit."""
WORK: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300)
"""For tasks: from a ping to the daily removal of old rows."""
WAIT: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
"""For a customer's wait: from none to one that is too long for any customer."""
ATTEMPTS: Final = (1, 2, 3, 4, 5, 6, 8)
"""For the attempts of a task: the policy allows six."""

# Every process.
PROCESSES: Final = Gauge("mirt_processes", "Processes that live.")
CLOCK_AHEAD: Final = Gauge(
    "mirt_clock_ahead_seconds",
    "Time by which the clock of this machine is ahead of the database's; negative if behind.",
    several=LATEST,
)
BUILD_INFO: Final = Gauge("mirt_build_info", "Processes that live, by their version.", "version")
PROCESS_STARTS: Final = Counter("mirt_process_starts_total", "Processes that have started.")

# The ingress.
WEBHOOKS: Final = Counter(
    "mirt_webhooks_total", "Webhooks of the channels, by their answer.", "channel", "outcome"
)
HTTP_SECONDS: Final = Histogram(
    "mirt_http_request_seconds",
    "Time until the answer of a request.",
    "route",
    "status",
    buckets=QUICK,
)

# Workers and their tasks.
WORKER_THREADS: Final = Gauge("mirt_worker_threads", "Threads that run messages.")
WORKER_THREADS_BUSY: Final = Gauge("mirt_worker_threads_busy", "Threads that run a message now.")
MESSAGES_STARTED: Final = Counter(
    "mirt_messages_started_total", "Messages that a worker has taken, copies included.", "task"
)
MESSAGES_FINISHED: Final = Counter(
    "mirt_messages_finished_total",
    "Messages that a worker has settled, by outcome.",
    "task",
    "outcome",
)
TASK_SECONDS: Final = Histogram(
    "mirt_task_seconds",
    "Time from taking a message to settling it.",
    "task",
    "outcome",
    buckets=WORK,
)
TASK_ATTEMPTS: Final = Histogram(
    "mirt_task_attempts",
    "Attempts of a task until it was done or failed for good.",
    "task",
    buckets=ATTEMPTS,
)
RETRIES: Final = Counter(
    "mirt_retries_total", "Failed attempts that will be repeated.", "task", "error"
)
BURIED: Final = Counter(
    "mirt_buried_tasks_total", "Tasks that have failed for good.", "task", "code"
)
TICKS: Final = Counter("mirt_ticks_total", "Ticks of the schedule that were taken.", "task")
WORKER_RECYCLES: Final = Counter(
    "mirt_worker_recycles_total", "Worker processes that were replaced by a successor.", "why"
)
WORKER_DEATHS: Final = Counter(
    "mirt_worker_deaths_total", "Worker processes that died unexpectedly.", "why"
)

# Turns and their calls outside.
MESSAGE_WAIT: Final = Histogram(
    "mirt_message_wait_seconds",
    "Time from receiving a customer's message to the start of its turn.",
    "channel",
    buckets=WAIT,
)
TURN_SECONDS: Final = Histogram(
    "mirt_turn_seconds", "Time of a closed turn, from its start or its last retry.",
    buckets=OUTSIDE,
)  # fmt: skip
AGENT_SECONDS: Final = Histogram(
    "mirt_agent_seconds", "Time until the answer of the agent.", "call", "outcome", buckets=OUTSIDE
)
REPLIES: Final = Counter(
    "mirt_replies_total", "Messages by whether the reply came in REPLY_SLO_SECONDS.", "goal"
)
REPLY_BUDGET: Final = Counter(
    "mirt_reply_budget_total", "Replies that may miss the goal: a share of each."
)
LLM_TOKENS: Final = Counter("mirt_llm_tokens_total", "Tokens that were billed.", "kind", "model")
LLM_COST: Final = Counter(
    "mirt_llm_cost_total", "US dollars that were billed, by LLM_PRICES.", "model"
)
LLM_COMPLETIONS: Final = Counter(
    "mirt_llm_completions_total", "Answers of the LLM, by how they ended.", "ending"
)
AGENT_ACTIONS: Final = Counter(
    "mirt_agent_actions_total", "Actions that the agent asked for, by outcome.", "action", "outcome"
)
AGENT_LIMITS: Final = Counter(
    "mirt_agent_limits_total", "Turns in which a limit for one customer was reached.", "limit"
)
HANDOVER_MOVES: Final = Counter(
    "mirt_handover_moves_total", "Moves of conversations between the bot and people.", "move"
)
APOLOGIES: Final = Counter(
    "mirt_apologies_total", "Apologies for turns that failed for good, by their error.", "code"
)
FOLLOWUPS: Final = Counter(
    "mirt_followups_total", "Follow-ups that were sent, or the reason to skip them.", "outcome"
)
DELIVERIES: Final = Counter(
    "mirt_deliveries_total", "Parts of replies, by the answer of the channel.", "channel", "outcome"
)
CRM_SECONDS: Final = Histogram(
    "mirt_crm_seconds", "Time until the answer of the CRM.", "call", "outcome", buckets=OUTSIDE
)

# Looked up in the database for each scrape: the same from each ingress.
MAILBOX_MESSAGES: Final = LookupGauge("mirt_mailbox_messages", "Messages that wait for an answer.")
LONGEST_WAIT: Final = LookupGauge(
    "mirt_longest_wait_seconds", "Longest wait of a task that no worker has begun."
)
TASKS: Final = LookupGauge(
    "mirt_tasks", "Tasks that have not ended: ready, running, delayed.", "queue", "task", "state"
)
DEAD_LETTERS: Final = LookupGauge(
    "mirt_dead_letters",
    "Tasks that failed for good and were neither replayed nor discarded.",
    "task",
    "code",
)
UNKNOWN_OUTCOMES: Final = LookupGauge(
    "mirt_unknown_outcomes", "Requests with an unknown outcome.", "of"
)
HOLDS: Final = LookupGauge(
    "mirt_holds",
    "Work is held: 1 if the service fails, 2 if it refuses our key or account; else 0.",
    "service",
)
OUTBOX_LAG: Final = LookupGauge(
    "mirt_outbox_lag_seconds", "Time for which the oldest due task was not published."
)
UNREACHABLE: Final = LookupGauge(
    "mirt_unreachable_conversations", "Conversations whose customers have blocked us."
)
HANDOVERS: Final = LookupGauge(
    "mirt_handovers", "Conversations that a person has or is asked for.", "state"
)
HANDOVER_WAIT: Final = LookupGauge(
    "mirt_handover_wait_seconds", "Longest wait of a customer for a person."
)
PAUSES: Final = LookupGauge("mirt_pauses", "Subjects that operators have paused.", "kind")
LAST_TICK_AGE: Final = LookupGauge(
    "mirt_last_tick_age_seconds", "Time since the last tick of a scheduled task.", "task"
)
DEPENDENCY_HEALTHY: Final = LookupGauge(
    "mirt_dependency_healthy",
    "1 if a worker reached it at its last check.",
    "worker",
    "dependency",
)
HEALTH_CHECK_AGE: Final = LookupGauge(
    "mirt_health_check_age_seconds", "Time since the last check of a worker.", "worker"
)
PENDING_UPDATES: Final = LookupGauge(
    "mirt_telegram_pending_updates", "Updates that wait at Telegram, at the last check."
)
WEBHOOK_AGE: Final = LookupGauge(
    "mirt_webhook_age_seconds",
    "Time since the last message of a channel.",
    "channel",
)
WEBHOOK_PROBLEMS: Final = LookupGauge(
    "mirt_webhook_problems", "Reasons why messages of a channel do not arrive.", "channel"
)

# Looked up in RabbitMQ.
RABBITMQ_READY: Final = LookupGauge(
    "mirt_rabbitmq_ready_messages", "Messages in RabbitMQ that no worker holds.", "queue"
)
RABBITMQ_CONSUMERS: Final = LookupGauge(
    "mirt_rabbitmq_consumers", "Worker processes that consume a queue.", "queue"
)

SOURCE_READABLE: Final = LookupGauge(
    "mirt_source_readable", "1 if the values of this answer could be looked up.", "source"
)

REGISTER: Final[Mapping[str, Instrument | LookupGauge]] = {
    metric.name: metric
    for metric in list(globals().values())
    if isinstance(metric, Instrument | LookupGauge)
}
