"""One suite for all brokers: what a task may rely on wherever it runs."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from dramatiq import Broker, Middleware
from dramatiq.results import ResultFailure

from actors.health import ping
from actors.messages import process_message, send_response
from middleware.execution import Execution
from mirt.store.tables import dead_letters, tasks
from tests.fakes import FakeServices, Status
from tests.integration.conftest import TRANSPORTS, Running, result_of, rows
from tests.polling import wait_until

Run = Callable[..., Running]
pytestmark = pytest.mark.parametrize("transport", TRANSPORTS)


def test_the_return_value_of_a_task_is_its_result(run: Run, transport: str) -> None:
    run(transport)
    sent = ping.send()
    assert result_of(sent)["pong"] is True
    assert result_of(sent)["task_id"] == sent.message_id


def test_a_task_id_runs_once_however_often_it_is_sent(
    run: Run, transport: str, services: FakeServices
) -> None:
    run(transport)
    for _ in range(3):
        sent = send_response.send_with_options(
            args=("telegram", "7", "once"), task_id=f"only-{transport}"
        )
    assert sent.message_id == f"only-{transport}"
    assert result_of(sent)["status"] == "sent"
    assert services.sent("7") == ["once"]


@pytest.mark.parametrize("task_id", ["", "x" * 501, 7])
def test_a_task_id_that_none_can_have_is_refused(run: Run, transport: str, task_id: Any) -> None:
    run(transport, work=False)
    with pytest.raises(ValueError, match="task_id: must be a text of 1 to 500 characters"):
        ping.send_with_options(task_id=task_id)
    assert rows(tasks) == []


def test_a_retryable_failure_is_tried_again_until_it_succeeds(
    run: Run, transport: str, services: FakeServices
) -> None:
    services.misbehave("telegram", Status(502), times=2)
    run(transport)
    sent = send_response.send("telegram", "7", "third time lucky")
    assert result_of(sent)["status"] == "sent"
    assert len(services.requests("telegram")) == 3
    wait_until(lambda: [row.state for row in rows(tasks)] == ["done"])


def test_a_permanent_failure_is_a_dead_letter_with_its_why(
    run: Run, transport: str, services: FakeServices
) -> None:
    services.misbehave(
        "telegram", Status(400, {"ok": False, "description": "Bad Request: chat not found"})
    )
    run(transport)
    sent = send_response.send("telegram", "7", "hello")
    with pytest.raises(ResultFailure, match="chat not found"):
        result_of(sent)
    [dead_letter] = wait_until(lambda: rows(dead_letters))
    assert (dead_letter.task_id, dead_letter.error_code) == (sent.message_id, "CHANNEL_REFUSED")
    assert dead_letter.kwargs == {"platform": "telegram", "chat_id": "7", "response_text": "hello"}
    assert "PermanentError" in dead_letter.traceback
    assert dead_letter.attempts == 1
    assert len(services.requests("telegram")) == 1


def test_an_unknown_failure_is_not_tried_again(run: Run, transport: str) -> None:
    run(transport)
    process_message.send("session", "hello", platform=["not", "a", "name"])  # type: ignore[arg-type]
    [dead_letter] = wait_until(lambda: rows(dead_letters))
    assert (dead_letter.error_code, dead_letter.attempts) == ("UNEXPECTED", 1)


def test_a_delay_is_a_row_until_it_is_over(run: Run, transport: str) -> None:
    run(transport)
    ping.send_with_options(delay=timedelta(days=40))
    [row] = rows(tasks)
    assert row.state == "delayed"
    assert row.due_at - row.created_at >= timedelta(days=40)


def test_arguments_pass_through_json(run: Run, transport: str) -> None:
    run(transport)
    with pytest.raises(TypeError, match="JSON"):
        send_response.send("telegram", "7", timedelta(1))  # type: ignore[arg-type]


def test_arguments_that_the_task_does_not_take_are_refused_by_name(
    run: Run, transport: str
) -> None:
    run(transport)
    with pytest.raises(TypeError, match=r"send_response: .*response_text"):
        send_response.send("telegram", "7")  # type: ignore[call-arg]
    assert rows(tasks) == []


def test_a_caller_that_waits_for_a_result_that_is_no_json_is_told_so(
    run: Run, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(transport)
    monkeypatch.setattr(ping, "fn", lambda: {"when": object()})
    with pytest.raises(ResultFailure, match="not JSON serializable"):
        result_of(ping.send())
    wait_until(lambda: [row.state for row in rows(tasks)] == ["done"])


class Broken(Middleware):
    """Fails so often before a task is begun, as a bug of ours would."""

    def __init__(self, times: int) -> None:
        self.times = times

    def before_process_message(self, broker: Broker, message: Any) -> None:
        self.times -= 1
        if self.times >= 0:
            raise RuntimeError("a hook of ours is broken")


def test_a_task_is_not_run_when_what_has_to_agree_fails(
    run: Run, transport: str, services: FakeServices
) -> None:
    running = run(transport)
    running.broker.add_middleware(Broken(times=1))
    send_response.send("telegram", "7", "hello")
    [dead_letter] = wait_until(lambda: rows(dead_letters))
    assert dead_letter.error_code == "UNEXPECTED"
    assert "a hook of ours is broken" in dead_letter.exception
    assert services.sent("7") == []


def test_a_task_that_could_not_even_be_claimed_is_run_later(
    run: Run, transport: str, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirt.store.queue.outbox.REPUBLISH_AFTER", timedelta(seconds=1))
    running = run(transport)
    running.broker.add_middleware(Broken(times=2), before=Execution)
    send_response.send("telegram", "7", "hello")
    assert services.sent("7") == []

    def run_at_last() -> bool:
        # There is no worker beside the eager broker that would do it.
        running.broker.publish_due()
        return services.sent("7") == ["hello"]

    wait_until(run_at_last)
    assert rows(dead_letters) == []
