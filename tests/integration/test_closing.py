"""A process that stops its worker and closes its broker and runtime keeps no connection."""

import gc
import threading
from collections.abc import Callable

import psycopg
import pytest

from actors.health import ping
from mirt.runtime import current_runtime
from service.processes.worker_main import stop_worker
from tests.integration.conftest import Running
from tests.polling import wait_until
from tests.servers import Postgres

OWN_THREADS = {"leases", "soft-limits", "outbox", "presence", "publisher", "republish", "late"}


def count_connections(postgres: Postgres, url: str, condition: str = "true") -> int:
    """Count the connections to the database of this URL."""
    with psycopg.connect(postgres.url) as connection:
        [[count]] = connection.execute(
            f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{url.rpartition('/')[2]}'"
            f" AND {condition}"
        ).fetchall()
    return int(count)


@pytest.mark.parametrize("tasks", [0, 20])
def test_a_stopped_worker_leaves_no_connection_and_no_thread(
    run: Callable[..., Running], postgres: Postgres, database_url: str, tasks: int
) -> None:
    before = set(threading.enumerate())
    running = run("rabbitmq")
    assert running.worker is not None
    for _ in range(tasks):
        ping.send()
    stop_worker(running.worker, grace_s=10)
    running.broker.close()
    current_runtime().close()
    # The server notices a closed connection a moment later.
    wait_until(lambda: count_connections(postgres, database_url) == 0)
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not left & OWN_THREADS


def test_a_closed_broker_has_ended_its_search_for_lost_messages(
    run: Callable[..., Running], postgres: Postgres, database_url: str
) -> None:
    with psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        running = run("rabbitmq", work=False)
        waiting = "wait_event_type = 'Lock'"
        wait_until(lambda: count_connections(postgres, database_url, waiting) == 1)
        threading.Timer(0.5, holder.rollback).start()
        running.broker.close()
        current_runtime().close()
    gc.collect()
    wait_until(lambda: count_connections(postgres, database_url) == 0)
