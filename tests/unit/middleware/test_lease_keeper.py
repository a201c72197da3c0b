"""The lease of a running task is renewed until the run ends."""

from datetime import timedelta
from pathlib import Path

from middleware.leases import LeaseKeeper
from mirt.clock import utc_now
from mirt.store.engine.database import Database
from mirt.store.queue.leases import Lease
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
