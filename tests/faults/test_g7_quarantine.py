"""G7: a message that kills its worker is started three times, and its neighbours are not harmed."""

import os
import signal
import subprocess
import time

from tests.deployment import Deployment, children, update
from tests.polling import START_WITHIN_S, wait_until

NEIGHBOURS = 200
CHATS = range(1, 17)
TURN_S = 6.0
LAST_REPLY_S = 25.0
NEW_CUSTOMER_S = 10.0
SLOW_MACHINE = 2.0
"""Factor on the times that hold on a machine that does nothing else. In single file the turns
would take 16 x 6 s on one process, and the new customer would wait behind them."""


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


def kill_children_once_all_run(
    deployed: Deployment, worker: "subprocess.Popen[bytes]", starts: int
) -> None:
    running = (
        f"SELECT 1 FROM tasks WHERE state = 'running' AND starts = {starts} AND due_at > now()"
    )
    wait_until(lambda: len(deployed.rows(running)) == len(CHATS), within_s=START_WITHIN_S)
    for child in children(worker):
        os.kill(child, signal.SIGKILL)


def test_two_crashes_hold_up_neither_the_suspects_nor_a_new_customer(deployed: Deployment) -> None:
    deployed.services.latency["llm"] = TURN_S
    worker = deployed.start("worker", "llm", "--processes", "2", "--threads", "8")
    deployed.web()
    deployed.post_all([update(chat, 1, "Привіт") for chat in CHATS])
    kill_children_once_all_run(deployed, worker, 1)
    kill_children_once_all_run(deployed, worker, 2)
    killed_at = time.monotonic()
    deployed.post(update(99, 1, "Добрий день"))
    wait_until(lambda: deployed.services.sent(99), within_s=SLOW_MACHINE * NEW_CUSTOMER_S)
    new_customer_s = time.monotonic() - killed_at
    wait_until(
        lambda: all(deployed.services.sent(chat) for chat in CHATS),
        within_s=SLOW_MACHINE * LAST_REPLY_S - new_customer_s,
    )
    print(f"new customer after {new_customer_s:.1f} s, all {time.monotonic() - killed_at:.1f} s")
    assert [len(deployed.services.sent(chat)) for chat in CHATS] == [1] * len(CHATS)
    assert deployed.dead_letters() == []
    assert deployed.log_text().count("suspect_runs_alone") == len(CHATS)
