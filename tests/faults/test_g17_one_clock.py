"""G17: a machine whose clock is off by a minute changes nothing."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.deployment import Deployment, update
from tests.polling import START_WITHIN_S, wait_until

ANOTHER_CLOCK = Path(__file__).with_name("another_clock")
OFF_S = 60
LEASE_S = 10
ANSWERS_AFTER_S = 5
CHATS = range(1, 25)


def of_another_machine(deployed: Deployment, ahead_s: int) -> Deployment:
    """Return the deployment as it is on a machine whose clock is off; it shares all processes."""
    clock = {"PYTHONPATH": str(ANOTHER_CLOCK), "CLOCK_AHEAD_S": str(ahead_s)}
    return replace(deployed, environment={**deployed.environment, **clock})


@pytest.fixture
def machines(deployed: Deployment) -> Deployment:
    """Workers of three machines: one is right, one ahead and one behind."""
    here = replace(
        deployed,
        environment={**deployed.environment, "LEASE_SECONDS": str(LEASE_S), "WORKER_THREADS": "8"},
    )
    here.web()
    for ahead_s in (0, OFF_S, -OFF_S):
        of_another_machine(here, ahead_s).start("worker")
    wait_until(
        lambda: (
            sorted(round(row[0], -1) for row in here.rows("SELECT clock_ahead_s FROM workers"))
            == [-OFF_S, 0, OFF_S]
        ),
        within_s=START_WITHIN_S,
        what="three workers report how far their clocks are off",
    )
    return here


def test_no_lease_is_stolen_and_no_task_dies(machines: Deployment) -> None:
    machines.services.latency["llm"] = ANSWERS_AFTER_S
    machines.post_all([update(chat, 1, "Привіт") for chat in CHATS])
    wait_until(lambda: all(machines.services.sent(chat) for chat in CHATS), within_s=90)
    turns = "FROM tasks WHERE actor = 'process_and_respond'"
    assert machines.rows(f"SELECT DISTINCT fence {turns}") == [(1,)]
    assert len(machines.services.requests("llm")) == len(CHATS)
    assert [len(machines.services.sent(chat)) for chat in CHATS] == [1] * len(CHATS)
    assert machines.dead_letters() == []


def test_a_delay_is_neither_shorter_nor_longer(machines: Deployment) -> None:
    for ahead_s in (0, OFF_S, -OFF_S):
        of_another_machine(machines, ahead_s).python(
            "from actors.messages import send_response\n"
            "send_response.send_with_options("
            f"args=('telegram', '{100 + ahead_s}', 'later'), delay=4_000)"
        )
    sent = machines.services
    chats = [100, 100 + OFF_S, 100 - OFF_S]
    wait_until(lambda: all(sent.sent(chat) for chat in chats), within_s=30)
    waits = "SELECT extract(epoch FROM started_at - created_at) FROM tasks WHERE actor = "
    for (waited_s,) in machines.rows(f"{waits}'send_response'"):
        assert 4 <= waited_s < 15


def test_doctor_names_the_machine_and_by_how_much(machines: Deployment) -> None:
    found = machines.json("doctor", exit_code=None)["findings"]
    clocks = [one["found"] for one in found if one["about"] == "worker clocks"]
    assert clocks
    assert all("s ahead of the database" in one or "s behind" in one for one in clocks)
    ahead = of_another_machine(machines, OFF_S).json("doctor", exit_code=None)["findings"]
    [here] = [one for one in ahead if one["about"] == "clock" and "PostgreSQL" in one["found"]]
    said = re.fullmatch(r"PostgreSQL is ([0-9.]+) s behind this machine", here["found"])
    assert said
    assert float(said[1]) == pytest.approx(OFF_S, abs=1)
