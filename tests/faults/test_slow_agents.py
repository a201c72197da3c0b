"""Turns that take longer than their lease, and workers that are lost in the middle of them."""

import os
import signal

from tests.deployment import Deployment, children, update
from tests.fakes import Hang
from tests.polling import wait_until

LEASE_S = 4
DUE = "SELECT due_at, fence, starts, state FROM tasks WHERE actor = 'process_and_respond'"


def with_lease(deployed: Deployment, seconds: int) -> None:
    deployed.environment = {**deployed.environment, "LEASE_SECONDS": str(seconds)}


def asked(deployed: Deployment) -> int:
    return len(deployed.services.requests("llm"))


def test_a_turn_that_takes_longer_than_its_lease_runs_once_and_is_asked_once(
    deployed: Deployment,
) -> None:
    """G4: the lease is renewed for as long as the process lives."""
    with_lease(deployed, LEASE_S)
    deployed.services.misbehave("llm", Hang())
    for _ in range(2):
        deployed.start("worker", "llm")
    deployed.web()
    deployed.post(update(1, 1, "m1"))
    wait_until(lambda: asked(deployed) == 1)
    [(first_end, *_)] = deployed.rows(DUE)

    def has_outlived_three_leases() -> bool:
        [(ends, *_)] = deployed.rows(DUE)
        return bool((ends - first_end).total_seconds() > 2 * LEASE_S)

    wait_until(has_outlived_three_leases)
    deployed.services.release()
    wait_until(lambda: deployed.services.sent(1))
    wait_until(lambda: [row.state for row in deployed.rows(DUE)] == ["done"])
    assert asked(deployed) == 1
    assert [row.fence for row in deployed.rows(DUE)] == [1]
    assert len(deployed.services.sent(1)) == 1


def test_the_turn_of_a_killed_process_goes_on_long_before_its_lease_ends(
    deployed: Deployment,
) -> None:
    """G12: the supervisor ends the leases of a process that it sees die."""
    with_lease(deployed, 60)
    deployed.services.misbehave("llm", Hang())
    worker = deployed.start("worker", "llm")
    deployed.web()
    deployed.post(update(1, 1, "m1"))
    wait_until(lambda: asked(deployed) == 1)
    [child] = children(worker)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: deployed.services.sent(1), within_s=45)
    assert asked(deployed) == 2


def test_a_process_that_was_held_still_leaves_no_count_against_its_tasks(
    deployed: Deployment,
) -> None:
    """G7: the supervisor itself ends such a process, so its tasks are no suspects."""
    with_lease(deployed, 2)
    deployed.services.misbehave("llm", Hang(), times=2)
    worker = deployed.start("worker", "llm", "--threads", "1")
    deployed.web()
    deployed.post(update(1, 1, "m1"))
    wait_until(lambda: asked(deployed) == 1)
    [held] = children(worker)
    os.kill(held, signal.SIGSTOP)
    wait_until(lambda: asked(deployed) == 2)
    [row] = deployed.rows(DUE)
    assert (row.fence, row.starts) == (2, 1)
    deployed.services.release()
    wait_until(lambda: deployed.services.sent(1))
    assert deployed.dead_letters() == []
