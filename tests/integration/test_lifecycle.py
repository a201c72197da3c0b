"""The log tells the way of a message: each event one line, in the context of its task."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from actors.crm import create_crm_order
from actors.messages import process_and_respond, send_response
from mirt.errors import ErrorCode, PermanentError, RateLimitError, RetryableError
from mirt.sync import run_sync
from service.web.bulkhead import Bulkhead
from tests.integration.conftest import TRANSPORTS, Running
from tests.polling import wait_until

Run = Callable[..., Running]
Raises = Callable[..., None]
log = structlog.get_logger(__name__)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
BOUND = {"trace_id", "task_id", "task", "session_id", "attempt"}


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    with capture_logs([structlog.contextvars.merge_contextvars]) as events:
        yield events


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Raises:
    """Let ``send_response`` raise these, one after the other, and then succeed."""

    def set_up(*errors: Exception) -> None:
        left = list(errors)

        def work(platform: str, chat_id: str, response_text: str) -> dict[str, Any]:
            if left:
                raise left.pop(0)
            return {"status": "sent"}

        monkeypatch.setattr(send_response, "fn", work)

    return set_up


def about_messages(lines: list[EventDict]) -> list[str]:
    return [line["event"] for line in lines if line["event"].startswith("message_")]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_message_is_a_line_when_it_is_started_and_one_when_it_is_finished(
    run: Run, transport: str, lines: list[EventDict]
) -> None:
    run(transport)
    sent = send_response.send_with_options(args=("telegram", "7", "hello"), trace_id=TRACE)
    wait_until(lambda: "message_finished" in about_messages(lines))
    assert about_messages(lines) == ["message_started", "message_finished"]
    for line in (x for x in lines if x["event"] in {*about_messages(lines), "delivered"}):
        assert {name: line[name] for name in BOUND} == {
            "trace_id": TRACE,
            "task_id": sent.message_id,
            "task": "send_response",
            "session_id": "7",
            "attempt": 1,
        }
    started, finished = (x for x in lines if x["event"].startswith("message_"))
    assert (started["queue"], started["waited_ms"] >= 0) == ("webhooks", True)
    assert finished["ms"] >= 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_each_end_is_a_line_of_its_own_level(
    run: Run, transport: str, lines: list[EventDict], raising: Raises
) -> None:
    raising(
        RateLimitError("slower", retry_after=0.01), RetryableError("once"), PermanentError("no")
    )
    run(transport)
    send_response.send("telegram", "7", "hello")
    wait_until(lambda: "message_failed" in about_messages(lines))
    ends = [x for x in lines if x["event"] in {"message_retried", "message_failed"}]
    assert [(x["event"], x["log_level"], x["error"], x["attempt"]) for x in ends] == [
        ("message_retried", "info", "RateLimitError", 1),
        ("message_retried", "warning", "RetryableError", 1),
        ("message_failed", "warning", "PermanentError", 2),
    ]
    assert [x.get("next_attempt") for x in ends] == [1, 2, None]
    assert (ends[2]["code"], ends[2]["attempts"]) == ("INVALID_INPUT", 2)


@pytest.mark.parametrize(
    ("errors", "level", "code"),
    [
        ([ValueError("nobody thought of it")], "error", "UNEXPECTED"),
        ([RetryableError("down")] * 6, "error", "RETRIES_EXHAUSTED"),
        ([PermanentError("too long", ErrorCode.TIME_LIMIT)], "error", "TIME_LIMIT"),
        ([PermanentError("blocked", ErrorCode.CHANNEL_REFUSED)], "warning", "CHANNEL_REFUSED"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unexpected_error_comes_with_its_traceback(
    run: Run,
    lines: list[EventDict],
    raising: Raises,
    errors: list[Exception],
    level: str,
    code: str,
) -> None:
    raising(*errors)
    run("eager")
    send_response.send("telegram", "7", "hello")
    [failed] = [x for x in lines if x["event"] == "message_failed"]
    assert (failed["log_level"], failed["code"]) == (level, code)
    assert ("exc_info" in failed) == (code == "UNEXPECTED")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_line_inside_says_which_task_and_attempt_it_is_and_none_after(
    run: Run, transport: str, lines: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def coroutine() -> None:
        log.info("in a coroutine")
        await asyncio.to_thread(log.info, "in its thread")

    def work(platform: str, chat_id: str, response_text: str) -> dict[str, Any]:
        log.info("in the task")
        run_sync(coroutine())
        Bulkhead("test", threads=1, within_s=10).call(lambda: log.info("in a bulkhead"))
        return {}

    monkeypatch.setattr(send_response, "fn", work)
    run(transport)
    for _ in range(8):
        send_response.send("telegram", "7", "hello")
    wait_until(lambda: about_messages(lines).count("message_finished") == 8)
    inside = [x for x in lines if x["event"].startswith("in ")]
    assert len(inside) == 32
    assert [x for x in inside if not x.keys() >= BOUND] == []
    assert len({x["task_id"] for x in inside}) == 8
    assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.parametrize("transport", ["embedded", "rabbitmq"])
def test_a_worker_is_a_line_when_it_starts_and_when_it_stops(
    run: Run, transport: str, lines: list[EventDict]
) -> None:
    from service.processes.worker_main import stop_worker

    running = run(transport)
    assert running.worker is not None
    stop_worker(running.worker, grace_s=10)
    running.worker = None
    found = [x["event"] for x in lines if x["event"].startswith("worker_")]
    assert found == ["worker_started", "worker_stopping", "worker_stopped"]


def test_an_order_belongs_to_the_session_it_came_from(run: Run, lines: list[EventDict]) -> None:
    run("eager")
    create_crm_order.send({"source_id": "7"})
    [failed] = [x for x in lines if x["event"] == "message_failed"]
    assert failed["session_id"] == "7"


def test_a_message_that_waits_for_its_turn_is_parked(run: Run, lines: list[EventDict]) -> None:
    running = run("eager", debounce_seconds=5)
    from service.dispatcher import dispatch_message

    dispatch_message("7", "перше", chat_id="7", message_id="1", fire_and_forget=True)
    process_and_respond.send("7", "друге", "telegram", "7")
    assert about_messages(lines) == ["message_accepted", "message_started", "message_parked"]
    assert running.worker is None
