"""However a message ends, it ends as it was promised and not in silence."""

import pytest

from mirt.texts import APOLOGY
from tests.deployment import SECRET, Deployment, update
from tests.fakes import EmptyCompletion, Hang, Misbehaviour, Status
from tests.polling import wait_until


@pytest.fixture
def running(deployed: Deployment) -> Deployment:
    deployed.environment = {**deployed.environment, "OUTAGE_PATIENCE_SECONDS": "1"}
    deployed.start("worker", "llm", "webhooks")
    deployed.web()
    return deployed


@pytest.mark.parametrize(
    "failure", [Status(500), EmptyCompletion()], ids=["answers 500", "answers nothing"]
)
def test_an_agent_that_fails_twice_is_asked_a_third_time(
    running: Deployment, failure: Misbehaviour
) -> None:
    running.services.misbehave("llm", failure, times=2)
    running.post(update(7, 1, "Привіт"))
    [reply] = wait_until(lambda: running.services.sent(7))
    assert reply != APOLOGY
    assert len(running.services.requests("llm")) == 3
    assert running.dead_letters() == []


@pytest.mark.parametrize(
    ("failure", "code"),
    [(Status(500), "OUTAGE"), (Status(401), "OUTAGE"), (Status(400), "LLM_REFUSED")],
    ids=["never recovers", "refuses our key", "refuses the request"],
)
def test_an_agent_that_never_answers_costs_one_apology_and_a_dead_letter(
    running: Deployment, failure: Misbehaviour, code: str
) -> None:
    running.services.misbehave("llm", failure, times=None)
    running.post(update(7, 1, "Привіт"))
    wait_until(lambda: running.services.sent(7))
    assert running.dead_letters() == [("process_and_respond", code)]
    running.services.mend("llm")
    running.post(update(7, 2, "Ще раз"))
    wait_until(lambda: len(running.services.sent(7)) == 2)
    assert running.services.sent(7)[0] == APOLOGY


def test_a_refused_reply_is_a_dead_letter_and_the_next_turn_goes_on(
    running: Deployment,
) -> None:
    refused = Status(
        400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
    )
    running.services.misbehave("telegram", refused, chat=7)
    running.post(update(7, 1, "Привіт"))
    wait_until(lambda: running.dead_letters() == [("process_and_respond", "CHANNEL_REFUSED")])
    assert running.services.sent(7) == []
    running.post(update(7, 2, "Я повернулась"))
    wait_until(lambda: running.services.sent(7))


def test_a_blank_message_is_ignored_aloud(running: Deployment) -> None:
    answer = running.post(update(7, 1, "  \n "))
    assert answer.status_code == 200
    assert answer.json()["status"] == "ignored"
    assert running.rows("SELECT 1 FROM inbox") == []


def test_a_message_of_100_kilobytes_is_refused_with_its_reason(running: Deployment) -> None:
    answer = running.post(update(7, 1, "я" * 50_000))
    assert answer.status_code == 400
    assert "user_message: 50000 characters" in answer.json()["message"]
    assert running.rows("SELECT 1 FROM inbox") == []


def test_an_agent_that_hangs_is_over_at_the_soft_limit(running: Deployment) -> None:
    running.services.misbehave("llm", Hang())
    task = "from actors.messages import process_message as p;"
    running.python(f"{task} p.send_with_options(args=('s', 'hello'), soft_limit_s=1)")
    wait_until(lambda: running.dead_letters() == [("process_message", "TIME_LIMIT")])


def test_no_log_line_has_a_secret(running: Deployment) -> None:
    running.services.misbehave(
        "telegram", Status(401, {"ok": False, "description": "Unauthorized"})
    )
    running.post(update(7, 1, "Привіт"))
    wait_until(running.dead_letters)
    for secret in ("123456:token", SECRET, "llm-key"):
        assert secret not in running.log_text()
        assert not any(secret in str(row) for row in running.rows("SELECT * FROM dead_letters"))
