"""Which broker, and which middleware in which order: the whole of it on one screen."""

import random
from datetime import timedelta

from dramatiq import Middleware
from dramatiq.results import ResultBackend
from dramatiq.results.backends import RedisBackend, StubBackend

from broker.durable import DurableBroker
from broker.eager import EagerBroker
from broker.embedded import EmbeddedBroker
from broker.rabbitmq import RabbitBroker
from broker.task import declared
from middleware.execution import Execution, RetryPolicy
from middleware.leases import LeaseKeeper, owner_name
from middleware.log_context import LogContext
from middleware.results import KeptResults
from middleware.time_limits import TimeLimits
from mirt.runtime import Runtime, runtime, use
from mirt.settings import Mode, Settings


def install(settings: Settings | None = None, world: Runtime | None = None) -> DurableBroker:
    """Bind every task to the broker that the settings ask for, and return it.

    A broker that was installed before is closed. ``world`` is the runtime to work in; without it
    the one of this process is taken.
    """
    if world is not None:
        use(world)
    world = world or runtime()
    broker = _broker(settings or world.settings, world)
    declared.release()
    declared.bind(broker)
    return broker


def middleware(settings: Settings, world: Runtime) -> list[Middleware]:
    """The middleware, outermost first: ``before`` runs downwards, ``after`` upwards."""
    keeper = LeaseKeeper(
        world.database,
        world.clock,
        owner=owner_name(),
        lease=timedelta(seconds=settings.lease_seconds),
    )
    pauses = RetryPolicy(settings.retry_base_seconds, lambda longest: random.uniform(0, longest))
    return [
        # Outermost, so that whatever the others log says which message it is about.
        LogContext(),
        # Before all that has effects: what cannot be claimed must not run. After all that may
        # still fail: what it settles is settled.
        Execution(world.database, world.clock, keeper, pauses),
        # Inside the claim: waiting for the database is not the task's own time.
        TimeLimits(),
        # Innermost, so that a result is there before its task is said to be done.
        KeptResults(_results(world)),
    ]


def _broker(settings: Settings, world: Runtime) -> DurableBroker:
    stack = middleware(settings, world)
    if settings.tasks_eager:
        return EagerBroker(database=world.database, clock=world.clock, middleware=stack)
    if settings.mode is Mode.EMBEDDED or settings.rabbitmq_url is None:
        return EmbeddedBroker(database=world.database, clock=world.clock, middleware=stack)
    return RabbitBroker(
        settings.rabbitmq_url.get_secret_value(),
        database=world.database,
        clock=world.clock,
        threads=settings.worker_threads,
        middleware=stack,
    )


def _results(world: Runtime) -> ResultBackend:
    if world.redis is None:
        return StubBackend(use_namespace_prefix_keys=True)
    backend: ResultBackend = RedisBackend(client=world.redis, use_namespace_prefix_keys=True)
    return backend


declared.made_by(install)
