"""Faults of the deployment's own processes."""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from tests.chaos.kinds import AT_ONCE, Recovered, kind
from tests.chaos.stage import LEASE_S, Stage
from tests.deployment import ROOT, children
from tests.polling import wait_until

ENOUGH_S: Final = 20.0
BETWEEN_TWO_KILLS_S: Final = 3.0
OFF_S: Final = 60
ANOTHER_CLOCK: Final = ROOT / "tests/faults/another_clock"


@kind("worker child killed", "workers", AT_ONCE)
def _child_killed(stage: Stage, chance: random.Random) -> Iterator[Recovered]:
    replaced = _replaced(stage)
    _signal(_victim(stage, chance), signal.SIGKILL)
    yield replaced


@kind("the same worker children killed twice", "workers", AT_ONCE)
def _children_killed_twice(stage: Stage, chance: random.Random) -> Iterator[Recovered]:
    name = chance.choice(stage.workers)
    for _ in range(2):
        started = stage.workers_started()
        victims = wait_until(lambda: stage.children_of(name), within_s=ENOUGH_S)
        for victim in victims:
            _signal(victim, signal.SIGKILL)
        wait_until(
            lambda now=started: stage.workers_started() > now,  # type: ignore[misc]
            within_s=ENOUGH_S,
            what="a worker process begins again",
        )
        time.sleep(BETWEEN_TWO_KILLS_S)
    yield stage.workers_consume


@kind("worker with a clock that is ahead", "workers", (5, 15))
def _clock_ahead(stage: Stage, chance: random.Random) -> Iterator[Recovered]:
    yield from _on_another_clock(stage, chance.choice(stage.workers), OFF_S)


@kind("worker with a clock that is behind", "workers", (5, 15))
def _clock_behind(stage: Stage, chance: random.Random) -> Iterator[Recovered]:
    yield from _on_another_clock(stage, chance.choice(stage.workers), -OFF_S)


def _on_another_clock(stage: Stage, name: str, ahead_s: int) -> Iterator[Recovered]:
    started = stage.workers_started()
    path = os.pathsep.join(filter(None, (str(ANOTHER_CLOCK), os.environ.get("PYTHONPATH"))))
    clock = {"PYTHONPATH": path, "CLOCK_AHEAD_S": str(ahead_s)}
    stage.processes.start_again(name, clock)
    wait_until(
        lambda: stage.workers_started() > started, within_s=60, what=f"{name} has another clock"
    )
    yield stage.workers_consume
    stage.processes.start_again(name, {})


@kind("worker killed with its children", "workers", AT_ONCE)
def _family_killed(stage: Stage, chance: random.Random) -> Iterator[Recovered]:
    replaced = _replaced(stage)
    stage.processes.kill(chance.choice(stage.workers))
    yield replaced


@kind("worker parent killed", "workers", AT_ONCE)
def _parent_killed(stage: Stage, chance: random.Random) -> Iterator[Recovered]:
    replaced = _replaced(stage)
    stage.processes.kill(chance.choice(stage.workers), family=False)
    yield replaced


@kind("worker child held past its lease", "workers", (1.2 * LEASE_S, 2.5 * LEASE_S))
def _child_held(stage: Stage, chance: random.Random) -> Iterator[Recovered]:
    replaced = _replaced(stage)
    victim = _victim(stage, chance)
    _signal(victim, signal.SIGSTOP)
    yield replaced
    _signal(victim, signal.SIGCONT)


@kind("worker held past its lease", "workers", (1.2 * LEASE_S, 2.5 * LEASE_S))
def _family_held(stage: Stage, chance: random.Random) -> Iterator[Recovered]:
    parent = stage.processes.process(chance.choice(stage.workers))
    # The parent first: it would replace a child that is held.
    family = [parent.pid, *children(parent)]
    for one in family:
        _signal(one, signal.SIGSTOP)
    yield stage.workers_consume
    for one in reversed(family):
        _signal(one, signal.SIGCONT)


@kind("web killed", "web", AT_ONCE)
def _web_killed(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    stage.processes.kill("web")
    yield stage.deployed.is_alive


def _victim(stage: Stage, chance: random.Random) -> int:
    """A child that takes turns. There may be none for a moment, when one was killed just now."""
    return chance.choice(
        wait_until(stage.worker_children, within_s=ENOUGH_S, what="a worker has a child")
    )


def _signal(pid: int, how: signal.Signals) -> None:
    # It may have ended by itself meanwhile.
    with suppress(ProcessLookupError):
        os.kill(pid, how)


def _replaced(stage: Stage) -> Recovered:
    """Whether one more has begun to work than had before, and all listen."""
    before = stage.workers_started()
    return lambda: stage.workers_started() > before and stage.workers_consume()
