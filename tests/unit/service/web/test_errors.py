"""Every error is JSON with a code; it says what to do, and nothing internal."""

from typing import Any

import pytest
from structlog.typing import EventDict

from mirt.errors import (
    DatabaseError,
    PermanentError,
    RateLimitError,
    RetryableError,
    SoftTimeLimitExceeded,
)
from tests.deployment import SECRET, update
from tests.unit.service.conftest import Ingress, Open

HIDDEN = "password=hunter2"


def failing(ingress: Open, error: Exception) -> Ingress:
    def dispatch(*_: Any, **__: Any) -> dict[str, Any]:
        raise error

    return ingress({"dispatch": dispatch})


@pytest.mark.parametrize("path", ["/", "/webhooks", "/webhooks/", "/webhooks/viber", "/healthz/x"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_address_is_not_found(ingress: Open, method: str, path: str) -> None:
    answer = ingress().client.simulate_request(method, path)
    assert (answer.status_code, answer.json["error"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/webhooks/telegram", {"POST", "OPTIONS"}),
        ("PUT", "/webhooks/telegram", {"POST", "OPTIONS"}),
        ("POST", "/healthz", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/readyz", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    ingress: Open, method: str, path: str, allowed: set[str]
) -> None:
    answer = ingress().client.simulate_request(method, path)
    assert (answer.status_code, answer.json["error"]) == (405, "METHOD_NOT_ALLOWED")
    assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    ("error", "retry_after"),
    [
        (DatabaseError(HIDDEN), "5"),
        (RetryableError(HIDDEN), "5"),
        (RateLimitError(HIDDEN, retry_after=12.2), "13"),
        (SoftTimeLimitExceeded(HIDDEN), "5"),
    ],
)
def test_an_error_that_may_pass_is_503_and_says_when(
    ingress: Open, error: Exception, retry_after: str, logs: list[EventDict]
) -> None:
    answer = failing(ingress, error).post(update(7, 1, "Привіт"))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, retry_after)
    assert answer.json == {"error": "UNAVAILABLE", "message": "not accepted; send it again"}
    [line] = [line for line in logs if line["event"] == "unavailable"]
    assert line["why"] == HIDDEN


def test_a_permanent_error_is_400_with_its_code(ingress: Open) -> None:
    error = PermanentError("chat_id: nobody", "CHANNEL_REFUSED")
    answer = failing(ingress, error).post(update(7, 1, "Привіт"))
    assert answer.status_code == 400
    assert answer.json == {"error": "CHANNEL_REFUSED", "message": "chat_id: nobody"}


def test_an_unexpected_error_shows_its_trace_id_and_nothing_else(
    ingress: Open, logs: list[EventDict]
) -> None:
    answer = failing(ingress, ZeroDivisionError(HIDDEN)).post(update(7, 1, "Привіт"))
    trace_id = answer.headers["X-Trace-Id"]
    assert (answer.status_code, answer.json["error"]) == (500, "UNEXPECTED")
    assert trace_id in answer.json["message"]
    assert "hunter2" not in answer.text
    assert "ZeroDivision" not in answer.text
    [line] = [line for line in logs if line["event"] == "unexpected"]
    assert line["trace_id"] == trace_id
    assert isinstance(line["exc_info"], ZeroDivisionError)


@pytest.mark.parametrize("error", [DatabaseError("x"), ValueError("x"), PermanentError("x", "Y")])
def test_no_error_answer_repeats_the_secret_or_the_message(ingress: Open, error: Exception) -> None:
    answer = failing(ingress, error).post(update(7, 1, "моя картка 4444"))
    assert SECRET not in answer.text
    assert "4444" not in answer.text
