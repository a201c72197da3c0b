"""G10: a delay is kept by the database, so neither a worker nor RabbitMQ has to live that long."""

import subprocess
import time

import pika
import psutil
import psycopg
import pytest

from tests.deployment import Deployment, children, kill_tree, update
from tests.polling import wait_until
from tests.servers import RabbitMQ

SEND = "from actors.health import ping\n"
PINGS = 200
ROUNDS = 5
MANY = 20_000
CLONE = f"""
INSERT INTO tasks SELECT (jsonb_populate_record(t, jsonb_build_object('id', t.id || '-' || n))).*
FROM tasks t, generate_series(1, {MANY}) n WHERE t.state = 'delayed'
"""
MIB = 1024 * 1024


def start_worker(deployed: Deployment) -> "subprocess.Popen[bytes]":
    """The parent, when its child is at work."""
    already = deployed.log_text().count("worker_started")
    worker = deployed.start("worker", "default")
    wait_until(lambda: deployed.log_text().count("worker_started") > already)
    return worker


def ran_after_s(deployed: Deployment, *, within_s: float = 20) -> float:
    """How long after it was sent the only task has run, which it does once."""
    ran = "SELECT extract(epoch FROM started_at - created_at), fence FROM tasks"
    wait_until(lambda: deployed.rows("SELECT 1 FROM tasks WHERE state = 'done'"), within_s=within_s)
    [(seconds, runs)] = deployed.rows(ran)
    assert runs == 1
    return float(seconds)


def pings_take_s(deployed: Deployment, name: str) -> float:
    """How long it takes from the sending of the first to the end of the last."""
    ids = f"id LIKE '{name}-%'"
    deployed.python(
        f"{SEND}for n in range({PINGS}): ping.send_with_options(task_id=f'{name}-{{n}}')"
    )
    done = f"SELECT 1 FROM tasks WHERE {ids} AND state = 'done'"
    wait_until(lambda: len(deployed.rows(done)) == PINGS)
    took = "SELECT extract(epoch FROM max(finished_at) - min(created_at)) FROM tasks"
    [(seconds,)] = deployed.rows(f"{took} WHERE {ids}")
    return float(seconds)


def fastest_pings_s(deployed: Deployment, name: str) -> float:
    """The time of the fastest of a few rounds, since another program may hold up any of them."""
    return min(pings_take_s(deployed, f"{name}-{turn}") for turn in range(ROUNDS))


def resident(worker: "subprocess.Popen[bytes]") -> int:
    """The memory of its children, in bytes."""
    return sum(psutil.Process(child).memory_info().rss for child in children(worker))


def is_thrown_out_by(rabbitmq_url: str, *, within_s: float) -> bool:
    """Whether RabbitMQ closes the channel of who holds a message for so long."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    channel = connection.channel()
    channel.queue_declare("held", exclusive=True)
    channel.basic_publish("", "held", b"")
    channel.basic_consume("held", lambda *_: None)
    end = time.monotonic() + within_s
    while channel.is_open and time.monotonic() < end:
        connection.process_data_events(time_limit=0.1)
    thrown_out = bool(channel.is_closed)
    connection.close()
    return thrown_out


@pytest.mark.parametrize(
    ("timeout_s", "delay_s"),
    [(1, 3), pytest.param(60, 300, marks=[pytest.mark.slow, pytest.mark.timeout(420)])],
)
def test_a_delay_longer_than_the_consumer_timeout_ends_on_time(
    deployed: Deployment, rabbitmq: RabbitMQ, rabbitmq_url: str, timeout_s: int, delay_s: int
) -> None:
    with rabbitmq.consumer_timeout(seconds=timeout_s):
        start_worker(deployed)
        deployed.python(f"{SEND}ping.send_with_options(delay={delay_s * 1000})")
        assert is_thrown_out_by(rabbitmq_url, within_s=1.5 * timeout_s + 2)
        assert delay_s <= ran_after_s(deployed, within_s=delay_s + 20) < delay_s + 1.5


@pytest.mark.slow
def test_a_turn_longer_than_the_consumer_timeout_is_answered_once(
    deployed: Deployment, rabbitmq: RabbitMQ
) -> None:
    deployed.services.latency["llm"] = 4
    with rabbitmq.consumer_timeout(seconds=1):
        deployed.start("worker", "llm")
        deployed.web()
        deployed.post(update(7, 1, "Привіт"))
        wait_until(lambda: "Consumer encountered a connection error" in deployed.log_text())
        wait_until(lambda: deployed.rows("SELECT 1 FROM tasks WHERE state = 'done'"))
    assert len(deployed.services.sent(7)) == 1
    assert len(deployed.services.requests("llm")) == 1


def test_a_delay_survives_a_killed_worker_and_a_wiped_rabbitmq(
    deployed: Deployment, rabbitmq: RabbitMQ
) -> None:
    doomed = start_worker(deployed)
    deployed.python(f"{SEND}ping.send_with_options(delay=3_000)")
    kill_tree(doomed.pid)
    rabbitmq.kill()
    rabbitmq.wipe()
    rabbitmq.start()
    start_worker(deployed)
    assert ran_after_s(deployed) >= 3


@pytest.mark.alone
def test_twenty_thousand_delayed_messages_take_no_memory_and_slow_nothing(
    deployed: Deployment, database_url: str
) -> None:
    # A new process that takes the place of the old one would count as memory.
    deployed.environment = {**deployed.environment, "WORKER_MAX_TASKS": "100000"}
    worker = start_worker(deployed)
    before_s, before = fastest_pings_s(deployed, "before"), resident(worker)
    deployed.python(f"{SEND}ping.send_with_options(delay=3_600_000)")
    with psycopg.connect(database_url) as connection:
        connection.execute(CLONE)
    after_s, after = fastest_pings_s(deployed, "after"), resident(worker)
    untouched = "SELECT count(*) FROM tasks WHERE state = 'delayed' AND publications = 0"
    assert deployed.rows(untouched) == [(MANY + 1,)]
    assert after - before < 8 * MIB
    assert after_s < 2 * before_s
