"""The lease of a running task is renewed until the run ends."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from middleware import leases as keeping
from middleware.leases import LeaseKeeper
from mirt.clock import utc_now
from mirt.errors import DatabaseError
from mirt.store.engine.database import Database
from mirt.store.queue import leases
from mirt.store.queue.leases import Lease
from tests.polling import wait_until
from tests.settings import sqlite_url


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(sqlite_url(tmp_path))
    yield opened
    opened.close()


def test_a_run_that_was_late_takes_nothing_from_the_run_that_replaced_it(
    database: Database,
) -> None:
    keeper = LeaseKeeper(database, utc_now, owner="me", lease=timedelta(hours=1))
    late, mine = (Lease("task", "me", fence) for fence in (1, 2))
    keeper.add(late)
    keeper.add(mine)
    keeper.remove(late)
    assert keeper.held == [mine]
    keeper.stop()


@pytest.mark.parametrize("failure", [DatabaseError("away"), RuntimeError("a bug")])
def test_after_a_failure_of_any_kind_the_next_renewal_comes_soon(
    database: Database, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    tried = threading.Semaphore(0)

    def fail(*_: object, **__: object) -> None:
        tried.release()
        raise failure

    monkeypatch.setattr(leases, "renew", fail)
    monkeypatch.setattr(keeping, "AGAIN_AFTER_S", 0.01)
    keeper = LeaseKeeper(database, utc_now, owner="me", lease=timedelta(seconds=6))
    keeper.add(Lease("task", "me", 1))
    for _ in range(5):  # the first after a third of the lease, and no other one waits that long
        assert tried.acquire(timeout=4)
    keeper.stop()
    assert keeper.held
    wait_until(lambda: keeper._thread is not None and not keeper._thread.is_alive())


def test_a_lease_is_renewed_before_it_runs_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease_s = 1.5
    renewed_at = [time.monotonic()]

    def note(*_: Any, **_values: Any) -> leases.Renewed:
        renewed_at.append(time.monotonic())
        return leases.Renewed(frozenset(), frozenset())

    monkeypatch.setattr(leases, "renew", note)
    keeper = LeaseKeeper(database, utc_now, owner="me", lease=timedelta(seconds=lease_s))
    keeper.add(Lease("task", "me", 1))
    wait_until(lambda: len(renewed_at) > 4)
    keeper.stop()
    # One pause may be long on a busy machine, but not each of them.
    shortest = min(later - earlier for earlier, later in pairwise(renewed_at))
    assert shortest < lease_s / 2
