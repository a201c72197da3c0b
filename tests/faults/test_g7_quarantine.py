"""G7: a message that kills its worker is started three times, and its neighbours are not harmed."""

from tests.deployment import Deployment
from tests.polling import wait_until

NEIGHBOURS = 200


def test_a_message_that_aborts_its_worker_is_started_three_times(deployed: Deployment) -> None:
    deployed.start_module("tests.faults.misbehaving_tasks", "parent")
    wait_until(lambda: "worker_started" in deployed.log_text())
    deployed.python(
        "import actors; from tests.faults.misbehaving_tasks import abort, effect\n"
        f"for n in range(1, {NEIGHBOURS} + 1):\n"
        "    effect.send(n)\n"
        "    if n == 50: abort.send()\n"
    )
    wait_until(lambda: deployed.rows("SELECT 1 FROM dead_letters"), within_s=60)
    wait_until(
        lambda: all(deployed.services.sent(n) for n in range(1, NEIGHBOURS + 1)), within_s=60
    )
    assert deployed.rows("SELECT actor, error_code FROM dead_letters") == [("abort", "WORKER_LOST")]
    assert deployed.log_text().count("worker_died") == 3
