"""G3: one turn of a conversation at a time, also when a worker comes back from the dead."""

import os
import signal

from tests.deployment import Deployment, children, update
from tests.fakes import Hang
from tests.polling import wait_until

CHATS = range(1, 6)


def replies(deployed: Deployment) -> list[int]:
    return [len(deployed.services.sent(chat)) for chat in CHATS]


def test_a_worker_held_past_its_lease_changes_nothing_when_it_goes_on(
    deployed: Deployment,
) -> None:
    deployed.environment = {**deployed.environment, "LEASE_SECONDS": "2"}
    deployed.services.latency["llm"] = 1
    worker = deployed.start("worker", "llm", "--threads", str(len(CHATS)))
    deployed.web()
    [child] = wait_until(lambda: children(worker))
    deployed.post_all([update(chat, 1, "m1") for chat in CHATS])
    wait_until(lambda: len(deployed.services.requests("llm")) == len(CHATS))
    # The parent first: it would replace a child that is held.
    for pid in (worker.pid, child):
        os.kill(pid, signal.SIGSTOP)
    try:
        deployed.services.misbehave("llm", Hang(), times=len(CHATS))
        deployed.start("worker", "llm")
        wait_until(lambda: len(deployed.services.requests("llm")) == 2 * len(CHATS))
    finally:
        for pid in (child, worker.pid):
            os.kill(pid, signal.SIGCONT)
    # The held one has its answers, and may do nothing with them: the other is at it.
    wait_until(lambda: deployed.log_text().count("is lost") == len(CHATS))
    assert replies(deployed) == [0] * len(CHATS)
    deployed.services.release()
    wait_until(lambda: replies(deployed) == [1] * len(CHATS))
    deployed.post_all([update(chat, 2, "m2") for chat in CHATS])
    wait_until(lambda: replies(deployed) == [2] * len(CHATS))
    assert all("m1" in deployed.services.sent(chat)[0] for chat in CHATS)
    assert deployed.rows("SELECT * FROM dead_letters") == []
