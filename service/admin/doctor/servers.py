"""The three servers: reached and how fast, their versions, what we may do there, their clocks."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mirt.clock import Clock
from mirt.settings import Settings
from mirt.store.engine.database import Database
from mirt.store.engine.revision import known_revision
from mirt.store.reports.server_info import DatabaseFacts, database_facts
from service.admin.doctor.finding import Finding, Verdict
from service.admin.doctor.workers import look_at_work

AHEAD_S: Final = 2.0
"""Clocks may differ by this much: leases and presence are judged by them."""
REDIS_WITHIN_S: Final = 3.0


def ask_database(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """The database, its schema and clock, and, if those are right, the work that it knows of.

    Raises:
        DatabaseError: it cannot be asked.
    """
    database = Database(settings.database_url.get_secret_value(), pool_size=1, reads_only=True)
    try:
        if database.is_sqlite and not Path(str(database.url.database)).exists():
            where = database.url.database
            yield Finding("database", Verdict.WRONG, f"there is no {where}", "mirt up makes it")
            return
        started = time.monotonic()
        with database.transaction() as tx:
            facts = database_facts(tx, clock)
        yield _database(database, facts, (time.monotonic() - started) * 1000)
        yield _schema(facts.revision)
        if not database.is_sqlite:
            yield _clock("PostgreSQL", facts.ahead_s)
        if facts.revision == known_revision():
            yield from look_at_work(database, clock, settings)
    finally:
        database.close()


def ask_rabbitmq(settings: Settings) -> Iterator[Finding]:
    """RabbitMQ, our rights there, and its queues.

    Raises:
        BrokerUnavailableError: it cannot be asked.
    """
    if settings.rabbitmq_url is None:
        yield Finding("rabbitmq", Verdict.OFF, "embedded: the queues are in mirt up")
        return
    from broker.rabbitmq.connection import ConnectionSettings
    from broker.rabbitmq.management import broker_facts

    started = time.monotonic()
    facts = broker_facts(ConnectionSettings.of(settings))
    took_ms = (time.monotonic() - started) * 1000
    if facts.forbidden:
        what = "; ".join(facts.forbidden)
        advice = "give the user configure, write and read on .* in this virtual host"
        yield Finding("rabbitmq", Verdict.WRONG, what, advice, took_ms)
    else:
        found = f"RabbitMQ {facts.version}, may declare, publish and read"
        yield Finding("rabbitmq", Verdict.FINE, found, None, took_ms)
    if facts.differing:
        names = ", ".join(facts.differing)
        why = next(iter(facts.differing.values()))
        yield Finding(
            "queues",
            Verdict.WRONG,
            f"{names}: declared with other arguments than ours ({why})",
            "stop the workers, empty and delete the queue; they declare it anew and publish "
            "everything again",
        )
    if facts.absent:
        names = ", ".join(facts.absent)
        yield Finding(
            "queues", Verdict.NOTE, f"not there yet: {names}", "the first worker makes it"
        )
    if not facts.differing and not facts.absent:
        yield Finding("queues", Verdict.FINE, "all are there, with the arguments that we declare")


def ask_redis(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """Redis, whether it takes what we write, and its clock.

    Raises:
        RedisUnavailableError: it cannot be asked.
    """
    if settings.redis_url is None:
        yield Finding("redis", Verdict.OFF, "not configured, and not needed")
        return
    from mirt.store.engine.redis_client import redis_facts

    started = time.monotonic()
    facts = redis_facts(settings.redis_url.get_secret_value(), clock, within_s=REDIS_WITHIN_S)
    took_ms = (time.monotonic() - started) * 1000
    found = f"Redis {facts.version}, may write, {facts.used_mb:.0f} MB used"
    yield Finding("redis", Verdict.FINE, found, None, took_ms)
    yield _clock("Redis", facts.ahead_s)


def _database(database: Database, facts: DatabaseFacts, took_ms: float) -> Finding:
    if facts.is_read_only:
        advice = "DATABASE_URL names a standby: name the primary"
        return Finding("database", Verdict.WRONG, f"{facts.version}, read-only", advice, took_ms)
    if facts.missing:
        found = f"{facts.version}; not allowed: {', '.join(facts.missing)}"
        advice = "grant it to the user of DATABASE_URL"
        return Finding("database", Verdict.WRONG, found, advice, took_ms)
    where = f" in {database.url.database}" if database.is_sqlite else ""
    return Finding("database", Verdict.FINE, f"{facts.version}{where}", None, took_ms)


def _schema(revision: str | None) -> Finding:
    known = known_revision()
    if revision is None:
        return Finding("schema", Verdict.WRONG, "there is none yet", "mirt migrate")
    if revision != known:
        found = f"it is {revision}, this version knows {known}"
        advice = "mirt migrate" if revision < known else "start the version that made it"
        return Finding("schema", Verdict.WRONG, found, advice)
    return Finding("schema", Verdict.FINE, f"{revision}, as this version knows it")


def _clock(whose: str, ahead_s: float) -> Finding:
    found = (
        f"{whose} is {abs(ahead_s):.2f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine"
    )
    if abs(ahead_s) > AHEAD_S:
        return Finding("clock", Verdict.WRONG, found, "let both keep time by NTP")
    return Finding("clock", Verdict.FINE, found)
