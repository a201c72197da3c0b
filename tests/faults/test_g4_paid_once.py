"""G4: a completion that the agent has returned is never asked for again."""

import os
import signal

from tests.deployment import Deployment, children, update
from tests.fakes import Hang, Status
from tests.waiting import wait_until


def test_a_worker_killed_while_it_delivers_does_not_ask_again(deployed: Deployment) -> None:
    deployed.world.misbehave("telegram", Hang(applied=False))
    worker = deployed.start("worker", "llm")
    deployed.web()
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: deployed.world.requests("telegram"))
    [child] = children(worker)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: len(deployed.world.sent(7)) == 1)
    assert len(deployed.world.requests("llm")) == 1


def test_a_channel_that_fails_is_tried_again_without_asking_again(deployed: Deployment) -> None:
    deployed.world.misbehave("telegram", Status(502), times=2)
    deployed.start("worker", "llm")
    deployed.web()
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: deployed.world.sent(7))
    assert len(deployed.world.requests("telegram")) == 3
    assert len(deployed.world.requests("llm")) == 1
