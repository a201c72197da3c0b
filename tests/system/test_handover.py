"""An operator takes a conversation over at the command line, answers it, and hands it back."""

import getpass
import socket

from tests.deployment import Deployment, update
from tests.fakes import FakeServices
from tests.polling import wait_until

OPERATOR = f"{getpass.getuser()}@{socket.gethostname()}"


def test_a_conversation_is_taken_over_answered_and_handed_back(
    deployed: Deployment, services: FakeServices
) -> None:
    deployed.web()
    deployed.start("worker")
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: services.sent(7) == ["echo: Привіт"])

    taken = deployed.json("takeover", "7")
    assert (taken["state"], taken["by"], taken["waiting"]) == ("person", OPERATOR, 0)
    deployed.post(update(7, 2, "Є хтось живий?"))
    said = deployed.json("say", "7", "Так, це Олена")
    assert said["waiting"] == 0
    wait_until(lambda: services.sent(7)[1:] == ["Так, це Олена"])
    deployed.post(update(7, 3, "Дякую"))
    assert deployed.json("takeover", "7")["waiting"] == 1

    back = deployed.mirt("handback", "7")
    assert back.returncode == 0, back.stderr
    assert "the bot answers 7 again; 1 message waits" in back.stdout
    wait_until(lambda: len(services.sent(7)) == 3)
    [_, last] = services.requests("llm")
    heard = [message["content"] for message in last.body["messages"] if message["role"] != "system"]
    assert heard == ["Привіт", "echo: Привіт", "Є хтось живий?", "Так, це Олена", "Дякую"]


def test_an_impossible_act_is_refused_in_one_line_with_exit_code_1(deployed: Deployment) -> None:
    deployed.web()
    deployed.post(update(7, 1, "Привіт"))
    refused = {
        ("say", "7", "Привіт"): "mirt takeover 7 (HANDOVER_REFUSED)",
        ("handback", "7"): "the bot answers 7 already (HANDOVER_REFUSED)",
        ("takeover", "8"): "none with the id 8 (UNKNOWN_CONVERSATION)",
    }
    for command, problem in refused.items():
        done = deployed.mirt(*command)
        assert done.returncode == 1
        assert done.stderr.endswith(f"{problem}\n"), done.stderr
    assert deployed.mirt("say", "7").returncode == 2
