"""A call that hangs holds its own thread, and neither its caller nor the other calls."""

import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
import structlog
from structlog.typing import EventDict

from service.web.bulkhead import Bulkhead, NoAnswerInTimeError
from service.web.intake import ANSWER_WITHIN_S
from tests.deployment import update
from tests.polling import wait_until
from tests.unit.service.conftest import Open


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """An event that ends the calls that hang."""
    event = threading.Event()
    yield event
    event.set()


def fail() -> NoReturn:
    raise TimeoutError("its own")


def test_a_call_returns_or_raises_what_the_work_does() -> None:
    bulkhead = Bulkhead("test", threads=1, within_s=5)
    assert bulkhead.call(lambda: 42) == 42
    with pytest.raises(TimeoutError, match="its own"):
        bulkhead.call(fail)


def test_the_work_sees_the_context_of_its_caller() -> None:
    with structlog.contextvars.bound_contextvars(trace_id="t"):
        seen = Bulkhead("test", threads=1, within_s=5).call(structlog.contextvars.get_contextvars)
    assert seen == {"trace_id": "t"}


def test_a_call_that_hangs_is_given_up_in_time(over: threading.Event) -> None:
    began = time.monotonic()
    with pytest.raises(NoAnswerInTimeError):
        Bulkhead("test", threads=1, within_s=0.1).call(lambda: over.wait(30))
    assert 0.1 <= time.monotonic() - began < 1


def test_a_call_that_had_to_wait_behind_hanging_calls_is_never_begun(over: threading.Event) -> None:
    bulkhead, begun = Bulkhead("test", threads=1, within_s=0.1), []
    with pytest.raises(NoAnswerInTimeError):
        bulkhead.call(lambda: over.wait(30))
    with pytest.raises(NoAnswerInTimeError):
        bulkhead.call(lambda: begun.append(1))
    over.set()
    wait_until(lambda: bulkhead.call(lambda: True))
    assert begun == []


def test_how_an_abandoned_call_ends_is_logged_with_its_trace(
    over: threading.Event, logs: list[EventDict]
) -> None:
    def fail_late() -> NoReturn:
        over.wait(30)
        raise ConnectionError("reset")

    with (
        structlog.contextvars.bound_contextvars(trace_id="t"),
        pytest.raises(NoAnswerInTimeError),
    ):
        Bulkhead("test", threads=1, within_s=0.05).call(fail_late)
    over.set()
    [line] = wait_until(lambda: [line for line in logs if line["event"] == "late_failure"])
    assert (line["why"], line["trace_id"]) == ("reset", "t")


def test_a_message_that_is_not_kept_in_time_is_asked_for_again(
    ingress: Open, over: threading.Event
) -> None:
    def dispatch(*_: Any, **__: Any) -> dict[str, Any]:
        over.wait(30)
        return {"duplicate": False}

    here = ingress({"dispatch": dispatch}, TASKS_EAGER=False)
    began = time.monotonic()
    answer = here.post(update(7, 1, "Привіт"))
    assert ANSWER_WITHIN_S <= time.monotonic() - began < 2 * ANSWER_WITHIN_S
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
