"""Chooses the broker and the middleware, in their order, from the settings."""

import random
from datetime import timedelta
from typing import Final

from dramatiq import Middleware
from dramatiq.results import ResultBackend

from broker.durable import DurableBroker
from broker.eager import EagerBroker
from broker.embedded import EmbeddedBroker, OutboxOnlyBroker
from broker.pump import OutboxPump
from broker.rabbitmq import RabbitBroker
from broker.rabbitmq.connection import ConnectionSettings
from broker.task import registry
from middleware.dead_letters import UnreadMessages
from middleware.execution import Execution
from middleware.hard_limits import DeadlineTable, HardLimits
from middleware.holds import Holds
from middleware.interruption import Interrupter
from middleware.leases import LeaseKeeper, owner_name
from middleware.log_context import LogContext
from middleware.metrics import TaskMetrics
from middleware.pauses import Pauses
from middleware.presence import Presence
from middleware.quarantine import Quarantine
from middleware.results import KeptResults, MemoryResults, RedisResults
from middleware.retries import Patience
from middleware.settlement import Settlement
from middleware.time_limits import TimeLimits
from middleware.tracing import TaskTracing
from mirt.clock import Clock
from mirt.observe.logs import configure_ours
from mirt.settings import Settings, load_settings
from mirt.store.engine.stores import Stores, stores

LONGEST_WAIT_HERE_S: Final = 60.0
"""Seconds that a sender waits in all, as it is asked to, if there are no workers to wait for it."""


def install(
    settings: Settings,
    *,
    clock: Clock | None = None,
    worker_id: str | None = None,
    deadlines: DeadlineTable | None = None,
    quarantine: Quarantine = Quarantine(),  # noqa: B008 - frozen
    outbox_only: bool = False,
) -> DurableBroker:
    """Bind every task to the broker that the settings ask for, and return it.

    ``clock`` is the database's, if none is given.
    ``worker_id`` is the name under which this process holds leases; no two processes may share one.
    The supervisor enforces the hard limits in ``deadlines``; without a supervisor there are none.
    ``quarantine`` says where suspects run. With ``outbox_only`` another process runs the tasks of
    the embedded mode.

    Raises:
        MissingActorError: all actors are declared, and the policy table has one more task.
    """
    registry.check()
    opened = stores(settings)
    clock = clock or opened.database.clock
    stack = middleware(settings, opened, clock, worker_id or owner_name(), deadlines, quarantine)
    broker = _broker(settings, opened, clock, stack, outbox_only=outbox_only)
    broker.find_failure_handlers = registry.failure_handlers
    registry.release()
    registry.bind(broker)
    return broker


def middleware(
    settings: Settings,
    opened: Stores,
    clock: Clock,
    worker_id: str,
    deadlines: DeadlineTable | None = None,
    quarantine: Quarantine = Quarantine(),  # noqa: B008 - frozen
) -> list[Middleware]:
    """Return the middleware, outermost first: ``before`` runs downwards, ``after`` upwards."""
    lease = timedelta(seconds=settings.lease_seconds)
    interrupter = Interrupter()
    keeper = LeaseKeeper(
        opened.database, clock, owner=worker_id, lease=lease, cancel=interrupter.cancel
    )
    settlement = Settlement(
        opened.database,
        clock,
        patience=_patience(settings),
        base_s=settings.retry_base_seconds,
        jitter=lambda longest: random.uniform(0, longest),
    )
    return [
        # These live beside the worker, not around a message.
        OutboxPump(lease),
        Presence(opened.database, clock, worker_id=worker_id),
        # Outermost, so that all work and logs of the others belong to the trace of the message and
        # name the message.
        TaskTracing(),
        LogContext(),
        # Around the rest, so that it sees their decisions.
        TaskMetrics(),
        UnreadMessages(opened.database, clock, registry.failure_handlers),
        # Before all that has effects: a task without a lease must not run. After all that may
        # still fail: its settlement is final.
        Execution(
            opened.database,
            clock,
            keeper,
            settlement,
            registry.claim_hooks,
            Pauses(opened.database, clock) if _has_workers(settings) else None,
            quarantine,
        ),
        # Inside the lease, which says whether the run is a probe.
        Holds(opened.database, clock),
        # Inside the lease: a wait for the database is not the task's own time.
        TimeLimits(interrupter),
        *([HardLimits(deadlines)] if deadlines is not None else []),
        # Innermost, so that the result is stored before its task is done.
        KeptResults(_results(opened)),
    ]


def _has_workers(settings: Settings) -> bool:
    # With TASKS_ENABLED=false the sender runs its tasks itself.
    return settings.tasks_enabled and not settings.tasks_eager


def _patience(settings: Settings) -> Patience:
    longest_s = settings.outage_patience_seconds
    if not _has_workers(settings):
        # Without workers no hold would end. The sender keeps a wait that it is asked for, but not
        # for hours; with TASKS_EAGER the waits are only added up.
        longest_here_s = 3600 if settings.tasks_eager else LONGEST_WAIT_HERE_S
        return Patience(min(longest_s, longest_here_s), holds=False)
    return Patience(longest_s)


def _broker(
    settings: Settings,
    opened: Stores,
    clock: Clock,
    stack: list[Middleware],
    *,
    outbox_only: bool,
) -> DurableBroker:
    database = opened.database
    if not _has_workers(settings):
        waits = not settings.tasks_eager
        return EagerBroker(database=database, clock=clock, middleware=stack, waits=waits)
    if settings.rabbitmq_url is None:
        embedded = OutboxOnlyBroker if outbox_only else EmbeddedBroker
        return embedded(database=database, clock=clock, middleware=stack)
    return RabbitBroker(
        ConnectionSettings.of(settings),
        database=database,
        clock=clock,
        threads=settings.worker_threads,
        middleware=stack,
    )


def _results(opened: Stores) -> ResultBackend:
    if opened.redis is None:
        return MemoryResults()
    return RedisResults(client=opened.redis, use_namespace_prefix_keys=True)  # type: ignore[no-untyped-call]


def _install_from_environment() -> DurableBroker:
    settings = load_settings()
    configure_ours(settings)
    return install(settings)


registry.set_factory(_install_from_environment)
