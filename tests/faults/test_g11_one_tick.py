"""G11: with any number of schedulers, and whichever of them dies, each tick runs once."""

import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.faults.ticker import FIRST, TICKING, begin_minute
from tests.polling import wait_until
from tests.servers import Postgres, RabbitMQ, Redis

SCHEDULERS = 3
KILLS = 10
RUNS = "SELECT id, state, fence FROM tasks WHERE actor = 'sweep_mailboxes'"
CHECKS = "SELECT id, state, fence FROM tasks WHERE actor = 'worker_health_check'"


def test_three_schedulers_whose_leader_is_killed_ten_times_send_every_tick_once(
    deployed: Deployment, tmp_path: Path
) -> None:
    Schedulers(deployed, tmp_path / "minute").go_through(minutes=3 * KILLS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_schedulers_send_every_tick_once_for_five_minutes(
    deployed: Deployment, tmp_path: Path
) -> None:
    Schedulers(deployed, tmp_path / "minute").go_through(minutes=300, lasting_s=1)


class Schedulers:
    """Schedulers whose minutes the test counts: one lasts until its tick is there, at least."""

    def __init__(self, deployed: Deployment, clock: Path) -> None:
        self._deployed = deployed
        self._clock = clock
        self._running: list[subprocess.Popen[bytes]] = []

    def go_through(self, *, minutes: int, lasting_s: float = 0) -> None:
        assert self._deployed.run("migrate") == 0
        self._deployed.start("worker", "default")
        begin_minute(self._clock, 0)
        self._running = [self._start() for _ in range(SCHEDULERS)]
        pause = minutes // KILLS
        for minute in range(minutes):
            begun = time.monotonic()
            is_fatal = minute % pause == pause - 1
            leader = self._leader(minute - 1) if is_fatal else None
            begin_minute(self._clock, minute)
            if leader is not None:
                # Its successor takes seconds to start, in which the others go on.
                leader.kill()
                leader.wait()
                self._running[self._running.index(leader)] = self._start()
            self._wait_for(tick("sweep_mailboxes", minute), not_before=begun + lasting_s)
        killed = [one for one in self._deployed.started if one.poll() is not None]
        assert len(killed) == KILLS
        self._all_ran_once(RUNS, [tick("sweep_mailboxes", n) for n in range(minutes)])
        self._all_ran_once(CHECKS, [tick("worker_health_check", n) for n in range(0, minutes, 5)])

    def _leader(self, minute: int) -> "subprocess.Popen[bytes]":
        """The one of three that has sent the tick of that minute."""
        wait_until(lambda: all(TICKING in self._log_of(one) for one in self._running))
        sent = tick("sweep_mailboxes", minute)
        return wait_until(lambda: [one for one in self._running if sent in self._log_of(one)])[0]

    def _wait_for(self, sent: str, *, not_before: float) -> None:
        wait_until(lambda: sent in {id_ for id_, _, _ in self._deployed.rows(RUNS)})
        wait_until(lambda: time.monotonic() >= not_before)

    def _log_of(self, process: "subprocess.Popen[bytes]") -> str:
        number = self._deployed.started.index(process)
        return (self._deployed.logs / f"{number}.log").read_text(errors="replace")

    def _start(self) -> "subprocess.Popen[bytes]":
        return self._deployed.start_module("tests.faults.ticker", str(self._clock))

    def _all_ran_once(self, runs: str, expected: list[str]) -> None:
        wait_until(lambda: all(state == "done" for _, state, _ in self._deployed.rows(runs)))
        rows = self._deployed.rows(runs)
        assert sorted(id_ for id_, _, _ in rows) == expected
        assert {fence for _, _, fence in rows} == {1}


def tick(task: str, number: int) -> str:
    return f"{task}@{(FIRST + timedelta(minutes=number)).isoformat()}"


def test_a_scheduler_that_is_really_periodiq_ticks(deployed: Deployment) -> None:
    assert deployed.run("migrate") == 0
    deployed.start("scheduler")
    deployed.start("worker", "default")
    wait_until(lambda: bool(deployed.rows(RUNS)), within_s=90)
    wait_until(lambda: {state for _, state, _ in deployed.rows(RUNS)} == {"done"})


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_scheduler_that_is_really_periodiq_outlives_every_outage(
    deployed: Deployment, rabbitmq: RabbitMQ, redis_server: Redis, postgres: Postgres
) -> None:
    assert deployed.run("migrate") == 0
    scheduler = deployed.start("scheduler")
    worker = deployed.start("worker", "default")
    for server in (rabbitmq, redis_server, postgres):
        wait_for_another_tick(deployed)
        server.kill()
        wait_for_the_next_minute()
        server.start()
    wait_for_another_tick(deployed)
    wait_until(lambda: {state for _, state, _ in deployed.rows(RUNS)} == {"done"}, within_s=60)
    assert (scheduler.poll(), worker.poll()) == (None, None)


def wait_for_another_tick(deployed: Deployment) -> None:
    before = len(deployed.rows(RUNS))
    wait_until(lambda: len(deployed.rows(RUNS)) > before, within_s=90)


def wait_for_the_next_minute() -> None:
    """Wait a little longer than the minute: each scheduler has ticked by then, or tried."""
    this = datetime.now(UTC).replace(second=0, microsecond=0)
    wait_until(lambda: datetime.now(UTC) > this + timedelta(seconds=63), within_s=70)
