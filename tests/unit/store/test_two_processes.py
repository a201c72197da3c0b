"""A second process that opens the SQLite file takes nothing from the one that works on it."""

import subprocess
import sys
from pathlib import Path

from mirt.store.engine.database import Database
from tests.settings import sqlite_url

LOOK = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as one:
    print(one.execute("SELECT n FROM t").fetchall())
one.close()
"""


def seen_by_another_process(file: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, file], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_log_of_a_running_process_survives_the_end_of_another(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path), pool_size=2)
    with database.transaction() as tx:
        tx.exec_driver_sql("CREATE TABLE t (n)")
    with database.engine.connect(), database.engine.connect():
        pass  # a second connection of this process
    assert seen_by_another_process(tmp_path / "mirt.db") == "[]"
    assert (tmp_path / "mirt.db-wal").exists(), "the locks of this process protect it"
    with database.transaction() as tx:
        tx.exec_driver_sql("INSERT INTO t VALUES (1)")
    assert seen_by_another_process(tmp_path / "mirt.db") == "[(1,)]"
    database.close()
