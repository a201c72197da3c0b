"""A shop on PostgreSQL whose workers are processes that stop where a test wants it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
from sqlalchemy import text

from mirt.store.engine.database import Database
from tests.deployment import ROOT
from tests.fakes import FakeServices
from tests.polling import wait_until
from tests.settings import settings_for

LEASE_S: Final = 30
LATER: Final = 60.0
"""Seconds after which every lease is over, and a CRM has done what it ever will."""
_SHIFTED: Final = {
    "tasks": ("due_at", "published_at", "held_since"),
    "orders": ("unknown_since", "updated_at"),
}


@dataclass
class Worker:
    """A worker process, and the points that it has passed."""

    pid: int
    log: Path

    @property
    def points(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    @property
    def state(self) -> str:
        """``stopped``, ``gone`` or ``running``."""
        try:
            status = psutil.Process(self.pid).status()
        except psutil.NoSuchProcess:
            return "gone"
        if status == psutil.STATUS_ZOMBIE:
            return "gone"
        return "stopped" if status == psutil.STATUS_STOPPED else "running"

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self.state != "gone":
            os.kill(self.pid, signal.SIGKILL)
            wait_until(lambda: self.state == "gone")


@dataclass
class Stage:
    """The shop of one test."""

    database: Database
    services: FakeServices
    zygote: "subprocess.Popen[str]"
    folder: Path
    settings: Mapping[str, Any]
    workers: list[Worker] = field(default_factory=list)

    def work(self, *, stop_at: str | None = None, how: str | None = None) -> Worker:
        """Start a worker process; ``how`` is the signal that it sends itself at ``stop_at``."""
        number = len(self.workers)
        log = self.folder / f"{number}.points"
        order = {
            "settings": self.settings,
            "stop_at": stop_at,
            "how": how,
            "away_s": LATER,
            "log": str(log),
            "output": str(self.folder / f"{number}.log"),
        }
        assert self.zygote.stdin is not None
        assert self.zygote.stdout is not None
        self.zygote.stdin.write(json.dumps(order) + "\n")
        self.zygote.stdin.flush()
        worker = Worker(int(self.zygote.stdout.readline()), log)
        self.workers.append(worker)
        return worker

    def pass_time(self, seconds: float = LATER) -> None:
        """Let all that is kept be so much older: leases end, delays are over."""
        with self.database.transaction() as tx:
            for table, columns in _SHIFTED.items():
                older = ", ".join(f"{c} = {c} - make_interval(secs => :s)" for c in columns)
                tx.execute(text(f"UPDATE {table} SET {older}"), {"s": seconds})

    def rows(self, query: str) -> list[Any]:
        with self.database.transaction() as tx:
            return list(tx.execute(text(query)))

    def is_done(self) -> bool:
        """Whether every task is done."""
        return not self.rows("SELECT 1 FROM tasks WHERE state <> 'done'")

    def finish(self) -> None:
        """Have another worker do the rest, to its end."""
        self.pass_time()
        another = self.work()
        wait_until(self.is_done, within_s=90, what="all tasks are done")
        another.kill()

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()


@contextmanager
def forking() -> Iterator["subprocess.Popen[str]"]:
    """Start the process that forks workers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.interleavings.zygote"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def stage(
    zygote: "subprocess.Popen[str]", services: FakeServices, folder: Path, database_url: str
) -> Iterator[Stage]:
    """Open a shop with a CRM; no worker runs yet."""
    crm = {"snitkix_api_key": "crm-key", "snitkix_api_url": services.crm_url}
    always = {"lease_seconds": LEASE_S, "quiet_hours": "none"}
    settings = settings_for(services, database_url=database_url, **always, **crm)
    plain = {
        name: value.get_secret_value() if hasattr(value, "get_secret_value") else value
        for name, value in settings.model_dump(exclude_unset=True).items()
    }
    with closing(Database(database_url)) as database:
        here = Stage(database, services, zygote, folder, plain)
        try:
            yield here
        finally:
            here.close()
