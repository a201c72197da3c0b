"""Each request has one trace id: in its answer, in its lines of the log, and in what it starts."""

import re

import pytest
import structlog
from structlog.typing import EventDict

from mirt.observe.traces import SpanContext, parse_headers
from mirt.store.tables import inbox
from tests.deployment import update
from tests.unit.service.conftest import Open

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
VALID = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/nothing", "/webhooks/telegram"], ids=str.strip
)
def test_every_answer_has_a_trace_id_of_its_own(ingress: Open, path: str) -> None:
    client = ingress().client
    first, second = (client.simulate_get(path).headers["X-Trace-Id"] for _ in range(2))
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second


def test_the_trace_of_a_caller_with_the_secret_goes_on(
    ingress: Open, logs: list[EventDict]
) -> None:
    here = ingress(tasks_token="systems-token")
    bearer = {"traceparent": VALID, "Authorization": "Bearer systems-token"}
    for answer in (
        here.post(update(7, 1, "Привіт"), headers={"traceparent": VALID}),
        here.client.simulate_post("/tasks/summarize", headers=bearer, json={"session_id": "7"}),
    ):
        assert answer.status_code < 300
        assert answer.headers["X-Trace-Id"] == TRACE
    lines = [line for line in logs if line["event"] == "request"]
    assert [line["trace_id"] for line in lines] == [TRACE, TRACE]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/webhooks/telegram"),
        ("POST", "/tasks/summarize"),
        ("GET", "/webhooks/telegram"),
        ("GET", "/nothing"),
        ("GET", "/ops"),
        ("GET", "/healthz"),
    ],
)
def test_a_stranger_writes_nothing_into_the_trace_of_another(
    ingress: Open, logs: list[EventDict], method: str, path: str
) -> None:
    headers = {"traceparent": VALID, "Authorization": "Bearer a guess"}
    client = ingress(tasks_token="systems-token", ops_token="operators-token").client
    answer = client.simulate_request(method, path, headers=headers, json={})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Trace-Id"])
    assert TRACE not in f"{answer.headers} {answer.text} {logs}"


def test_a_later_version_of_the_header_may_have_more_fields() -> None:
    assert parse_headers(f"01-{TRACE}-00f067aa0ba902b7-01-more") == SpanContext(
        TRACE, "00f067aa0ba902b7", "01"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "",
        TRACE,
        f"00-{TRACE}-00f067aa0ba902b7-01-more",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-00f067aa0ba902b7-01\n",
        f"00-{TRACE[:-1]}-00f067aa0ba902b7-01",
    ],
)
def test_a_header_that_is_not_valid_begins_a_new_trace(wrong: str | None) -> None:
    assert parse_headers(wrong) is None


def test_the_message_is_kept_with_the_trace_of_its_webhook(ingress: Open) -> None:
    here = ingress()
    here.post(update(7, 1, "Привіт"), headers={"traceparent": VALID})
    with here.runtime.database.transaction() as tx:
        assert tx.execute(inbox.select()).one().trace_id == TRACE


def test_the_trace_is_forgotten_with_the_request(ingress: Open) -> None:
    ingress().post(update(7, 1, "Привіт"))
    assert "trace_id" not in structlog.contextvars.get_contextvars()


def test_each_request_is_logged_once_without_query_and_body(
    ingress: Open, logs: list[EventDict]
) -> None:
    here = ingress()
    answer = here.post(update(7, 1, "моя картка"), query_string="token=hunter2")
    [line] = [line for line in logs if line["event"] == "request"]
    assert line["trace_id"] == answer.headers["X-Trace-Id"]
    assert (line["method"], line["path"], line["status"]) == ("POST", "/webhooks/telegram", 200)
    assert line["ms"] > 0
    assert "hunter2" not in str(logs)
    assert "картка" not in str(line)


def test_a_refused_request_is_logged_too(ingress: Open, logs: list[EventDict]) -> None:
    ingress().post(update(7, 1, "Привіт"), secret="wrong")
    assert [line["status"] for line in logs if line["event"] == "request"] == [401]


def test_asking_whether_it_is_alive_is_not_logged(ingress: Open, logs: list[EventDict]) -> None:
    ingress().client.simulate_get("/healthz")
    assert logs == []


def test_the_polling_of_an_open_page_is_logged_only_when_it_fails(
    ingress: Open, logs: list[EventDict]
) -> None:
    client = ingress(ops_token="operators-token").client
    for token in ("operators-token", "another"):
        headers = {"Authorization": f"Bearer {token}", "X-Refresh": "1"}
        client.simulate_get("/ops", headers=headers)
    lines = [line for line in logs if line["event"] == "request" and line["log_level"] != "debug"]
    assert [line["status"] for line in lines] == [401]
