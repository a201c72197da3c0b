"""The lease of a running task is renewed until the run ends."""

import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from middleware.leases import LeaseKeeper
from mirt.clock import utc_now
from mirt.errors import DatabaseError
from mirt.store.engine.database import Database
from mirt.store.queue import leases
from mirt.store.queue.leases import Lease
from tests.polling import wait_until
from tests.settings import sqlite_url


def test_a_run_that_was_late_takes_nothing_from_the_run_that_replaced_it(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path))
    keeper = LeaseKeeper(database, utc_now, owner="me", lease=timedelta(hours=1))
    late, mine = (Lease("task", "me", fence) for fence in (1, 2))
    keeper.add(late)
    keeper.add(mine)
    keeper.remove(late)
    assert keeper.held == [mine]
    keeper.stop()


def test_a_lease_is_renewed_before_it_runs_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease_s = 1.5
    renewed_at = [time.monotonic()]
    renew = leases.renew

    def note(*args: Any, **values: Any) -> Any:
        renewed_at.append(time.monotonic())
        return renew(*args, **values)

    monkeypatch.setattr(leases, "renew", note)
    keeper = LeaseKeeper(database, utc_now, owner="me", lease=timedelta(seconds=lease_s))
    keeper.add(Lease("task", "me", 1))
    wait_until(lambda: len(renewed_at) > 4)
    keeper.stop()
    # One pause may be long on a busy machine, but not each of them.
    shortest = min(later - earlier for earlier, later in pairwise(renewed_at))
    assert shortest < lease_s / 2


def test_a_failed_renewal_is_not_the_last(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []

    def fail(*_: Any, **_values: Any) -> set[Lease]:
        calls.append(None)
        raise DatabaseError("away")

    monkeypatch.setattr(leases, "renew", fail)
    keeper = LeaseKeeper(database, utc_now, owner="me", lease=timedelta(seconds=0.3))
    keeper.add(Lease("task", "me", 1))
    wait_until(lambda: len(calls) > 2)
    keeper.stop()


def test_a_run_that_has_ended_is_renewed_no_more(database: Database) -> None:
    keeper = LeaseKeeper(database, utc_now, owner="me", lease=timedelta(hours=1))
    keeper.add(Lease("task", "me", 1))
    keeper.remove(Lease("task", "me", 1))
    assert keeper.held == []
    keeper.stop()
