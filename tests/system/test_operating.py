"""An operator at the command line: what is wrong is found, and mended by a command."""

import os
import signal
import time
from typing import Any

import pytest

from tests.deployment import Deployment, children, update
from tests.fakes import FakeServices, Hang, Status
from tests.polling import wait_until

REFUSED = Status(
    400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
)


def letters(deployed: Deployment, *filters: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = deployed.json("dead", "list", *filters)["letters"]
    return found


def test_a_conversation_whose_agent_hangs_is_found_by_inspect_and_by_trace(
    deployed: Deployment, services: FakeServices
) -> None:
    services.misbehave("llm", Hang())
    deployed.web()
    deployed.start("worker", "llm")
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: services.requests("llm"))
    deployed.post(update(7, 2, "Ви тут?"))

    [run] = wait_until(lambda: deployed.json("inspect", "active")["active"])
    assert (run["task"], run["session_id"], run["attempt"]) == ("process_and_respond", "7", 1)
    [worker] = wait_until(lambda: deployed.json("inspect", "stats")["workers"])
    assert run["worker_id"] == worker["id"]
    assert (worker["busy"], worker["threads"]) == (1, 16)

    seen = deployed.json("inspect", exit_code=None)
    [wait] = seen["waiting"]
    assert (wait["session_id"], wait["customer_name"], wait["messages"]) == ("7", "Оля", 2)
    assert wait["task_id"] == run["task_id"]
    assert "running for" in wait["why"]
    assert wait["command"] == "mirt trace 7"

    told = deployed.mirt(*wait["command"].split()[1:])
    assert "waits for the agent" in told.stdout
    assert "2 messages wait" in told.stdout
    assert "Привіт" not in told.stdout
    assert "Привіт" in deployed.mirt("trace", "7", "--texts").stdout
    services.release()
    wait_until(lambda: len(services.sent(7)) == 2)
    assert deployed.json("inspect", "active")["active"] == []


def test_a_refused_reply_is_seen_and_a_replay_delivers_it_once(
    deployed: Deployment, services: FakeServices
) -> None:
    services.misbehave("telegram", REFUSED)
    deployed.web()
    deployed.start("worker")
    deployed.post(update(7, 1, "Привіт"))
    [letter] = wait_until(lambda: letters(deployed, "--code", "CHANNEL_REFUSED"))
    assert "chat not found" in letter["why"]
    assert "CHANNEL_REFUSED" in deployed.mirt("dead", "list").stdout
    assert deployed.mirt("inspect").returncode == 1
    shown = deployed.mirt("dead", "show", letter["task_id"])
    assert "Привіт" not in shown.stdout
    assert "(6 characters)" in shown.stdout
    assert "Привіт" in deployed.mirt("dead", "show", letter["task_id"], "--texts").stdout

    document = deployed.json("dead", "show", letter["task_id"])
    assert "(6 characters)" in document["arguments"].values()
    assert document["traceback"].startswith("Traceback")

    assert deployed.json("dead", "replay", letter["task_id"]) == {"counted": 1, "replayed": 1}
    wait_until(lambda: services.sent(7))
    again = deployed.mirt("dead", "replay", letter["task_id"])
    assert again.returncode == 1
    assert "NOT_FOUND" in again.stderr
    wait_until(lambda: deployed.json("inspect")["problems"] == [])
    assert len(services.sent(7)) == 1
    assert len(services.requests("llm")) == 1
    trace = deployed.json("trace", letter["trace_id"])
    assert (trace["trace_id"], trace["session_id"]) == (letter["trace_id"], "7")
    steps = [step["what"] for step in trace["steps"]]
    assert steps.count("died") == steps.count("replayed") == steps.count("delivered") == 1
    assert steps.index("died") < steps.index("replayed") < steps.index("delivered")


def test_a_full_dead_letter_queue_is_emptied_by_filter_and_only_after_a_yes(
    deployed: Deployment, services: FakeServices
) -> None:
    services.misbehave("telegram", REFUSED, times=None)
    deployed.start("worker")
    deployed.python(
        "from actors.messages import send_response\n"
        "for chat in range(40): send_response.send('telegram', str(chat), 'hello')\n"
        "from actors.crm import create_crm_order\n"
        "create_crm_order.send({'external_id': 'o1'})"
    )
    wait_until(lambda: deployed.json("dead", "list")["total"] == 41)
    refused = deployed.mirt("dead", "discard", "--queue", "webhooks")
    assert refused.returncode == 1
    assert "Delete 40 dead letters for good?" in refused.stderr
    assert deployed.json("dead", "list")["total"] == 41
    told = deployed.json("dead", "discard", "--queue", "webhooks", "--since", "1h", "--yes")
    assert told == {"counted": 40, "discarded": 40}
    assert [letter["queue"] for letter in letters(deployed)] == ["crm"]


def test_a_killed_worker_disappears_and_its_task_goes_on_in_another(
    deployed: Deployment, services: FakeServices
) -> None:
    services.misbehave("llm", Hang())
    deployed.web()
    first = deployed.start("worker", "llm")
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: services.requests("llm"))
    [before] = wait_until(lambda: deployed.json("inspect", "stats")["workers"])
    family = [first.pid, *children(first)]
    for pid in family:
        os.kill(pid, signal.SIGKILL)
    killed_at = time.monotonic()
    deployed.start("worker", "llm")
    wait_until(
        lambda: (
            before["id"] not in [one["id"] for one in deployed.json("inspect", "stats")["workers"]]
        ),
        within_s=15,
    )
    assert time.monotonic() - killed_at < 15
    services.mend("llm")
    wait_until(lambda: services.sent(7), within_s=30)
    assert len(services.sent(7)) == 1
    told = deployed.mirt("trace", "7").stdout
    assert "begun again" in told


def test_a_message_is_sent_to_a_deployment_and_what_is_wrong_is_said(
    deployed: Deployment, services: FakeServices
) -> None:
    port, chat = ["--port", str(deployed.port)], ["--chat", "7"]
    nobody = deployed.mirt("send", "Привіт", *port, *chat)
    assert nobody.returncode == 69
    assert "start it: mirt web (UNAVAILABLE)" in nobody.stderr
    deployed.web()
    late = deployed.mirt("send", "Привіт", *port, *chat, "--within", "0.5")
    assert late.returncode == 1
    assert "mirt trace" in late.stderr
    refused = deployed.mirt(
        "send", "Привіт", *port, *chat, TELEGRAM_WEBHOOK_SECRET="a-wrong-secret"
    )
    assert refused.returncode == 1
    assert "UNAUTHORIZED" in refused.stderr
    deployed.start("worker", "llm")
    url = f"http://127.0.0.1:{deployed.port}"
    answered = deployed.mirt("send", "Дякую", "--url", url, "--chat", "8")
    assert answered.returncode == 0, answered.stderr
    assert "Дякую" in answered.stdout


def test_nothing_printed_to_a_pipe_is_coloured(deployed: Deployment) -> None:
    for command in (
        ["inspect"],
        ["inspect", "stats"],
        ["inspect", "registered"],
        ["inspect", "queues"],
        ["doctor"],
        ["dead", "list"],
        ["--help"],
    ):
        done = deployed.mirt(*command)
        assert "\x1b" not in done.stdout + done.stderr, command
        assert "Traceback" not in done.stderr, command


QUEUE = {
    "name",
    "ready",
    "running",
    "delayed",
    "dead",
    "done_per_minute",
    "oldest_wait_s",
    "workers",
}
KEYS = {
    ("inspect",): {"at", "problems", "waiting", "queues", "workers"},
    ("inspect", "active"): {"at", "active"},
    ("inspect", "stats"): {"at", "queues", "workers"},
    ("inspect", "queues"): {"at", "queues"},
    ("inspect", "registered"): {"queues", "tasks"},
    ("dead", "list"): {"total", "letters"},
    ("doctor",): {"ok", "findings"},
    ("purge", "llm"): {"queue", "removed", "replay"},
}


@pytest.mark.parametrize("command", KEYS, ids=" ".join)
def test_each_document_has_the_keys_that_scripts_know(
    deployed: Deployment, command: tuple[str, ...]
) -> None:
    document = deployed.json(*command, exit_code=None)
    assert set(document) == KEYS[command]
    if command == ("inspect", "stats"):
        assert set(document["queues"][0]) == QUEUE
    if command == ("inspect", "queues"):
        assert set(document["queues"][0]) == QUEUE | {
            "rabbitmq_ready",
            "rabbitmq_consumers",
            "rabbitmq_rejects",
        }
    if command == ("inspect", "registered"):
        tasks = {task["name"]: task for task in document["tasks"]}
        assert tasks["sweep_mailboxes"]["tick"]["next_at"] > "2026"
        assert tasks["ping"]["tick"] is None
