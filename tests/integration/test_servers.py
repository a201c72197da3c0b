"""The test servers themselves: what every other test leans on must hold first."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pika
import psycopg
import pytest
import redis
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from tests.servers import Postgres, RabbitMQ, Redis, ServerFailed

QUEUE = "greetings"


@contextmanager
def channel_to(url: str) -> Iterator[BlockingChannel]:
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        yield connection.channel()


def publish(url: str, body: bytes) -> None:
    """Publish a message that survives a restart, and return once the broker has confirmed it."""
    with channel_to(url) as channel:
        channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        channel.basic_publish(
            "", QUEUE, body, pika.BasicProperties(delivery_mode=2), mandatory=True
        )


def take(url: str) -> bytes | None:
    with channel_to(url) as channel:
        _, _, body = channel.basic_get(QUEUE, auto_ack=True)
        return body


def queue_exists(url: str) -> bool:
    with channel_to(url) as channel:
        try:
            channel.queue_declare(QUEUE, passive=True)
        except ChannelClosedByBroker:
            return False
        return True


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_a_message_goes_through_rabbitmq(rabbitmq_url: str) -> None:
    publish(rabbitmq_url, b"hello")

    assert take(rabbitmq_url) == b"hello"
    assert take(rabbitmq_url) is None


def test_a_killed_rabbitmq_comes_back_where_it_was_with_what_it_had_confirmed(
    rabbitmq: RabbitMQ, rabbitmq_url: str
) -> None:
    publish(rabbitmq_url, b"confirmed")
    killed = rabbitmq.pid

    rabbitmq.kill()
    assert not rabbitmq.answers()
    rabbitmq.start()

    assert rabbitmq.pid != killed
    assert take(rabbitmq_url) == b"confirmed"


def test_a_wiped_rabbitmq_comes_back_empty(rabbitmq: RabbitMQ, rabbitmq_url: str) -> None:
    publish(rabbitmq_url, b"lost")

    rabbitmq.kill()
    rabbitmq.wipe()
    rabbitmq.start()

    assert not queue_exists(rabbitmq_url)


def test_two_tests_on_rabbitmq_do_not_see_each_other(rabbitmq: RabbitMQ, rabbitmq_url: str) -> None:
    publish(rabbitmq_url, b"mine")

    with rabbitmq.isolated() as another_url:
        assert not queue_exists(another_url)


def test_redis_remembers(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set("key", "value")

        assert client.get("key") == b"value"


def test_a_killed_redis_comes_back_where_it_was_with_nothing(
    redis_server: Redis, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set("key", "value")

    redis_server.kill()
    redis_server.start()

    with redis.Redis.from_url(redis_url) as client:
        assert client.get("key") is None


def test_a_stopped_redis_comes_back_with_nothing(redis_server: Redis, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set("key", "value")

    redis_server.stop()
    redis_server.start()

    with redis.Redis.from_url(redis_url) as client:
        assert client.get("key") is None


def test_a_paused_server_keeps_connections_open_and_answers_after_it_goes_on(
    redis_server: Redis, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url, socket_timeout=0.2, retry=None) as client:
        client.ping()
        redis_server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()

        redis_server.resume()

        assert client.ping()


def test_a_redis_database_left_full_is_empty_for_the_next_test(redis_server: Redis) -> None:
    with redis_server.isolated() as url, redis.Redis.from_url(url) as client:
        client.set("key", "left over")
    used = url

    for _ in range(16):  # all of them have their turn
        with redis_server.isolated() as url, redis.Redis.from_url(url) as client:
            assert client.dbsize() == 0
            if url == used:
                return
    pytest.fail(f"{used} was not given out again")


def test_postgres_answers(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT 6 * 7").fetchone() == (42,)


def test_postgres_knows_ukrainian_letters(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT lower('ЇЖАК')").fetchone() == ("їжак",)


def test_a_killed_postgres_comes_back_where_it_was_with_what_it_had_committed(
    postgres: Postgres, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'committed' AS what")

    postgres.kill()
    assert not postgres.answers()
    postgres.start()

    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT what FROM kept").fetchone() == ("committed",)


def test_two_tests_on_postgres_do_not_see_each_other(postgres: Postgres, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE mine ()")

    with postgres.isolated() as another_url, psycopg.connect(another_url) as connection:
        assert connection.execute("SELECT to_regclass('mine')").fetchone() == (None,)


def test_a_wiped_postgres_can_be_used_by_the_next_test(postgres: Postgres) -> None:
    postgres.kill()
    postgres.wipe()
    postgres.start()

    with postgres.isolated() as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_running_server_does_not_lose_its_disk(redis_server: Redis) -> None:
    with pytest.raises(ServerFailed, match="stop or kill it before"):
        redis_server.wipe()


A_RUN_WITH_A_SERVER_THAT_HAS_A_DAEMON = """
import sys, time
from tests.servers.directories import private_directory
from tests.servers.process import Process

home = private_directory("test")
ready = f"echo $$ > {home}/new; mv {home}/new {home}/pid"
daemon = f"setsid --fork sh -c '{ready}; exec sleep 300'"
server = Process("test", home, ["sh", "-c", f"{daemon}; exec sleep 300"])
server.start()
while not (home / "pid").exists():
    time.sleep(0.01)
print(home, server.pid, (home / "pid").read_text(), flush=True)
sys.stdin.read()
"""


def test_nothing_of_a_server_outlives_a_killed_test_run() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", A_RUN_WITH_A_SERVER_THAT_HAS_A_DAEMON],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        home, *pids = run.stdout.readline().split()
        lives = [os.pidfd_open(int(pid)) for pid in pids]
        run.kill()

    try:
        for life in lives:
            assert select.select([life], [], [], 10)[0], "it still runs"
    finally:
        for life in lives:
            os.close(life)
    wait_until(lambda: not Path(home).exists())
