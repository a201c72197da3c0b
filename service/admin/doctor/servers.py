"""Check PostgreSQL, RabbitMQ and Redis: reachable, how fast, versions, our rights, clocks."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirt.clock import Clock
from mirt.settings import Settings
from mirt.store.engine.database import Database
from mirt.store.engine.revision import known_revision
from mirt.store.reports.server_info import DatabaseFacts, database_facts
from service.admin.doctor.finding import Finding, Severity
from service.admin.doctor.versions import check_version
from service.admin.doctor.workers import check_workers
from service.admin.queues import MAX_CLOCK_SKEW_S

if TYPE_CHECKING:
    from broker.rabbitmq.management import BrokerFacts

REDIS_TIMEOUT_S: Final = 3.0


def check_database(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """Check the database, its schema and clock, and, if the schema is right, workers and tasks.

    Raises:
        DatabaseError: the database cannot be read.
    """
    database = Database(settings.database_url.get_secret_value(), pool_size=1, reads_only=True)
    try:
        if database.is_sqlite and not Path(str(database.url.database)).exists():
            where = database.url.database
            yield Finding(
                "database", Severity.ERROR, f"there is no file {where}", "mirt up creates it"
            )
            return
        started = time.monotonic()
        with database.transaction() as tx:
            facts = database_facts(tx, clock)
        yield _database(database, facts, (time.monotonic() - started) * 1000)
        yield from check_version(*facts.version.split(" ", 1))
        yield _schema(facts)
        if not database.is_sqlite:
            yield _clock("PostgreSQL", facts.ahead_s)
        if facts.is_usable:
            yield from check_workers(database)
    finally:
        database.close()


def check_rabbitmq(settings: Settings) -> Iterator[Finding]:
    """Check RabbitMQ, our rights there, and its queues.

    Raises:
        BrokerUnavailableError: RabbitMQ cannot be reached.
    """
    if settings.rabbitmq_url is None:
        yield Finding("rabbitmq", Severity.DISABLED, "embedded mode: the queues are in mirt up")
        return
    from broker.rabbitmq.connection import ConnectionSettings
    from broker.rabbitmq.management import broker_facts

    started = time.monotonic()
    facts = broker_facts(ConnectionSettings.of(settings))
    took_ms = (time.monotonic() - started) * 1000
    if facts.forbidden:
        what = "; ".join(facts.forbidden)
        advice = "give the user configure, write and read on .* in this virtual host"
        yield Finding("rabbitmq", Severity.ERROR, what, advice, took_ms)
    else:
        found = f"RabbitMQ {facts.version}, may declare, publish and read"
        yield Finding("rabbitmq", Severity.OK, found, None, took_ms)
    yield from check_version("RabbitMQ", facts.version)
    yield from _queues(facts)


def _queues(facts: "BrokerFacts") -> Iterator[Finding]:
    if facts.differing:
        names = ", ".join(facts.differing)
        why = next(iter(facts.differing.values()))
        yield Finding(
            "queues",
            Severity.ERROR,
            f"{names}: declared with other arguments than ours ({why})",
            "the service works with it, but its promises may not hold: delete the queue; the "
            "workers declare it again within seconds and publish everything again",
        )
    if facts.unlimited:
        names = ", ".join(facts.unlimited)
        yield Finding(
            "queues",
            Severity.WARNING,
            f"declared by an older version, without a delivery limit of ours: {names}",
            "before an upgrade to RabbitMQ 4, which has a limit of 20, delete the queues at a "
            "quiet moment; the workers declare them again and publish everything again",
        )
    if facts.absent:
        names = ", ".join(facts.absent)
        yield Finding(
            "queues", Severity.WARNING, f"not there yet: {names}", "the first worker creates it"
        )
    if not facts.differing and not facts.absent and not facts.unlimited:
        yield Finding("queues", Severity.OK, "all exist, with the arguments that we declare")


def check_redis(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """Check Redis: that it accepts writes, and its clock.

    Raises:
        RedisUnavailableError: Redis cannot be reached.
    """
    if settings.redis_url is None:
        yield Finding("redis", Severity.DISABLED, "not configured, and not needed")
        return
    from mirt.store.engine.redis_client import redis_facts

    started = time.monotonic()
    facts = redis_facts(settings.redis_url.get_secret_value(), clock, within_s=REDIS_TIMEOUT_S)
    took_ms = (time.monotonic() - started) * 1000
    if facts.version is None:
        found = "may write; its version and memory are not shown to our user"
    else:
        found = f"Redis {facts.version}, may write, {facts.used_mb:.0f} MB used"
    yield Finding("redis", Severity.OK, found, None, took_ms)
    if facts.version is not None:
        yield from check_version("Redis", facts.version)
    yield _clock("Redis", facts.ahead_s)


def _database(database: Database, facts: DatabaseFacts, took_ms: float) -> Finding:
    if facts.is_read_only:
        advice = "DATABASE_URL names a standby: name the primary"
        return Finding("database", Severity.ERROR, f"{facts.version}, read-only", advice, took_ms)
    if facts.missing:
        found = f"{facts.version}; not allowed: {', '.join(facts.missing)}"
        advice = "grant it to the user of DATABASE_URL"
        return Finding("database", Severity.ERROR, found, advice, took_ms)
    where = f" in {database.url.database}" if database.is_sqlite else ""
    return Finding("database", Severity.OK, f"{facts.version}{where}", None, took_ms)


def _schema(facts: DatabaseFacts) -> Finding:
    revision, known = facts.revision, known_revision()
    if revision is None:
        return Finding("schema", Severity.ERROR, "the database has no schema yet", "mirt migrate")
    if revision != known and facts.is_usable:
        found = f"the schema is {revision}; this version knows {known} and works on it"
        return Finding("schema", Severity.OK, found)
    if revision != known:
        found = f"the schema is {revision}, this version knows {known}"
        advice = "mirt migrate" if revision < known else "start the version that created it"
        return Finding("schema", Severity.ERROR, found, advice)
    return Finding("schema", Severity.OK, f"{revision}, as this version expects")


def _clock(whose: str, ahead_s: float) -> Finding:
    found = (
        f"{whose} is {abs(ahead_s):.2f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine"
    )
    if abs(ahead_s) > MAX_CLOCK_SKEW_S:
        return Finding("clock", Severity.ERROR, found, "synchronise both clocks by NTP")
    return Finding("clock", Severity.OK, found)
