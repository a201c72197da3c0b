"""G6: a message is over at its limit, and those beside it are not harmed."""

import pytest

from tests.deployment import Deployment
from tests.polling import wait_until
from tests.servers import Postgres

NEIGHBOURS = 20


@pytest.fixture
def wicked(deployed: Deployment) -> Deployment:
    deployed.start_module("tests.faults.misbehaving_tasks", "parent")
    wait_until(lambda: "worker_started" in deployed.log_text())
    return deployed


def send(deployed: Deployment, code: str) -> None:
    deployed.python(f"import actors; from tests.faults.misbehaving_tasks import *\n{code}")


def test_a_loop_in_plain_python_is_interrupted_at_the_soft_limit(wicked: Deployment) -> None:
    send(wicked, "compute.send()")
    wait_until(lambda: wicked.dead_letters() == [("compute", "TIME_LIMIT")])
    assert "worker_died" not in wicked.log_text()


@pytest.mark.alone
@pytest.mark.parametrize("task", ["block", "hold_the_gil", "swallow"])
def test_a_task_that_nothing_inside_can_stop_is_over_at_the_hard_limit(
    wicked: Deployment, task: str
) -> None:
    send(
        wicked,
        f"for n in range(1, {NEIGHBOURS} + 1):\n"
        "    neighbour.send(n)\n"
        f"    if n == 5: {task}.send()\n",
    )
    wait_until(lambda: wicked.dead_letters() == [(task, "TIME_LIMIT")], within_s=30)
    [(ran_s,)] = wicked.rows(
        "SELECT extract(epoch FROM l.died_at - t.created_at) FROM dead_letters l "
        "JOIN tasks t ON t.id = l.task_id"
    )
    # At its limit of 3 s and the grace; by itself it would never be over.
    assert 3 < ran_s < 20
    assert wicked.log_text().count("hard_limit") == 1
    everybody = range(1, NEIGHBOURS + 1)
    wait_until(lambda: all(wicked.services.sent(n) for n in everybody))
    assert [n for n in everybody if len(wicked.services.sent(n)) != 1] == []


def test_another_that_is_over_while_its_process_ends_is_over_for_good_too(
    wicked: Deployment,
) -> None:
    send(wicked, "block.send(); time.sleep(0.5); block.send()")
    wait_until(lambda: wicked.dead_letters() == [("block", "TIME_LIMIT")] * 2, within_s=30)
    # Of each the run, and the claim that buried it.
    assert wicked.rows("SELECT fence FROM tasks") == [(2,), (2,)]


@pytest.mark.alone
def test_a_task_that_holds_the_gil_for_longer_than_its_lease_is_not_begun_elsewhere(
    deployed: Deployment,
) -> None:
    deployed.environment = {**deployed.environment, "LEASE_SECONDS": "2"}
    for _ in range(2):
        deployed.start_module("tests.faults.misbehaving_tasks", "parent")
    wait_until(lambda: deployed.log_text().count("worker_started") == 2)
    send(deployed, "hold_the_gil_for_long.send()")
    timed_out = [("hold_the_gil_for_long", "TIME_LIMIT")]
    wait_until(lambda: deployed.dead_letters() == timed_out, within_s=30)
    # The run, and the claim that buried it.
    assert deployed.rows("SELECT fence FROM tasks") == [(2,)]
    assert deployed.log_text().count("worker_died") == 1


@pytest.mark.alone
def test_a_parent_that_was_told_to_stop_keeps_limits_and_leases_to_the_end(
    deployed: Deployment,
) -> None:
    deployed.environment = {**deployed.environment, "LEASE_SECONDS": "2"}
    stopping = deployed.start_module("tests.faults.misbehaving_tasks", "parent")
    wait_until(lambda: "worker_started" in deployed.log_text())
    send(deployed, "hold_the_gil_for_long.send()")
    wait_until(lambda: deployed.rows("SELECT 1 FROM tasks WHERE state = 'running'"))
    stopping.terminate()
    deployed.start_module("tests.faults.misbehaving_tasks", "parent")
    timed_out = [("hold_the_gil_for_long", "TIME_LIMIT")]
    wait_until(lambda: deployed.dead_letters() == timed_out, within_s=30)
    assert deployed.rows("SELECT fence FROM tasks") == [(2,)]
    assert stopping.wait(5) == 0


def test_a_hard_limit_that_passes_while_the_database_is_away_is_one_run_and_the_last(
    wicked: Deployment, postgres: Postgres
) -> None:
    send(wicked, "block.send()")
    wait_until(lambda: wicked.rows("SELECT 1 FROM tasks WHERE state = 'running'"))
    postgres.stop()
    wait_until(lambda: "leases_not_released" in wicked.log_text(), within_s=30)
    postgres.start()
    wait_until(lambda: wicked.dead_letters() == [("block", "TIME_LIMIT")], within_s=60)
    # The run, and the claim that buried it.
    assert wicked.rows("SELECT fence FROM tasks") == [(2,)]
