"""G6: a message is over at its limit, and those beside it are not harmed."""

import pytest

from tests.deployment import Deployment
from tests.waiting import wait_until

pytestmark = pytest.mark.alone

NEIGHBOURS = 20


@pytest.fixture
def wicked(deployed: Deployment) -> Deployment:
    deployed.start_module("tests.faults.wicked", "parent")
    wait_until(lambda: "worker_started" in deployed.log_text())
    return deployed


def send(deployed: Deployment, code: str) -> None:
    deployed.python(f"import actors; from tests.faults.wicked import *\n{code}")


def dead(deployed: Deployment) -> list[tuple[str, str]]:
    return [tuple(row) for row in deployed.rows("SELECT actor, error_code FROM dead_letters")]


def test_a_loop_in_plain_python_is_interrupted_at_the_soft_limit(wicked: Deployment) -> None:
    send(wicked, "compute.send()")
    wait_until(lambda: dead(wicked) == [("compute", "TIME_LIMIT")])
    assert "worker_died" not in wicked.log_text()


@pytest.mark.parametrize("task", ["block", "hold_the_gil", "swallow"])
def test_what_nothing_inside_can_stop_is_over_at_the_hard_limit(
    wicked: Deployment, task: str
) -> None:
    send(
        wicked,
        f"for n in range(1, {NEIGHBOURS} + 1):\n    effect.send(n)\n    if n == 5: {task}.send()\n",
    )
    wait_until(lambda: dead(wicked) == [(task, "TIME_LIMIT")], within_s=30)
    [(ran_s,)] = wicked.rows(
        "SELECT extract(epoch FROM l.died_at - t.created_at) FROM dead_letters l "
        "JOIN tasks t ON t.id = l.task_id"
    )
    assert ran_s > 3
    assert wicked.log_text().count("hard_limit") == 1
    everybody = range(1, NEIGHBOURS + 1)
    wait_until(lambda: all(wicked.world.sent(n) for n in everybody))
    assert [n for n in everybody if len(wicked.world.sent(n)) != 1] == []
