"""Faults of the deployment's own processes."""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from tests.chaos.kinds import AT_ONCE, Recovered, kind
from tests.chaos.stage import LEASE_S, Stage
from tests.deployment import children
from tests.polling import wait_until

ENOUGH_S: Final = 20.0


@kind("worker child killed", "workers", AT_ONCE)
def _child_killed(stage: Stage, chance: random.Random) -> Iterator[Recovered]:
    replaced = _replaced(stage)
    _signal(_victim(stage, chance), signal.SIGKILL)
    yield replaced


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
