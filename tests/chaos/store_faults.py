"""Faults of Redis and PostgreSQL."""

import random
from collections.abc import Iterator

import redis

from tests.chaos.kinds import AT_ONCE, Recovered, kind
from tests.chaos.stage import Stage


@kind("Redis killed", "redis", (0.5, 4))
def _redis_killed(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    stage.redis.kill()
    yield stage.is_ready
    stage.redis.start()


@kind("Redis flushed", "redis", AT_ONCE)
def _redis_flushed(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    with redis.Redis.from_url(stage.redis.url) as client:
        client.flushall()
    yield stage.is_ready


@kind("Redis full", "redis", (2, 6))
def _redis_full(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    with redis.Redis.from_url(stage.redis.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        yield stage.is_ready
        client.config_set("maxmemory", "0")


@kind("Redis held still", "redis", (2, 6))
def _redis_held(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    stage.redis.pause()
    yield stage.is_ready
    stage.redis.resume()


@kind("PostgreSQL killed", "postgres", (0.5, 3))
def _postgres_killed(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    stage.postgres.kill()
    yield stage.is_ready
    stage.postgres.start()


def _postgres_away(seconds: float) -> None:
    """A restart or a failover of a managed server, which takes longer than a lease."""

    @kind(f"PostgreSQL away for {seconds:g} s", "postgres", (seconds, seconds))
    def away(stage: Stage, _: random.Random) -> Iterator[Recovered]:
        stage.postgres.stop()
        yield stage.is_ready
        stage.postgres.start()


_postgres_away(15)
_postgres_away(40)


@kind("PostgreSQL held still", "postgres", (2, 6))
def _postgres_held(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    stage.postgres.pause()
    yield stage.is_ready
    stage.postgres.resume()


@kind("PostgreSQL connections cut in mid-message", "postgres", (0.5, 2))
def _postgres_cut(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    with stage.to_postgres.cut_in_mid_message():
        yield stage.is_ready
