"""One trace id finds everything that happened to a message: in the logs, as spans, outside."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

import pytest

from tests.deployment import SECRET, Deployment, update
from tests.fakes import Status
from tests.fakes.collector import CollectedSpan, Collector, collector
from tests.polling import wait_until

TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER: Final = "00f067aa0ba902b7"
TRACEPARENT: Final = f"00-{TRACE}-{CALLER}-01"
FAILING: Final = Status(500, {"ok": False, "error_code": 500, "description": "Internal"})
REFUSED: Final = Status(
    400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
)


@pytest.fixture
def collecting() -> Iterator[Collector]:
    with collector() as here:
        yield here


@pytest.fixture
def traced(deployed: Deployment, collecting: Collector) -> Deployment:
    return replace(
        deployed,
        environment={
            **deployed.environment,
            "LOG_FORMAT": "json",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collecting.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        },
    )


def lines_of(deployed: Deployment, trace_id: str) -> list[dict[str, Any]]:
    """The lines of a trace from all processes, by their time."""
    lines = [json.loads(line) for line in deployed.log_text().splitlines() if trace_id in line]
    return sorted(lines, key=lambda line: line["timestamp"])


def events_of(deployed: Deployment, trace_id: str) -> list[str]:
    return [line["event"] for line in lines_of(deployed, trace_id)]


def is_finished(deployed: Deployment, trace_id: str) -> bool:
    return "message_finished" in events_of(deployed, trace_id)


def test_one_trace_id_finds_every_step_of_a_message_that_fails_dies_and_is_replayed(
    traced: Deployment, collecting: Collector
) -> None:
    services = traced.services
    services.misbehave("telegram", FAILING, times=2, path="sendMessage")
    services.misbehave("telegram", REFUSED, path="sendMessage")
    traced.start("worker", "llm", "webhooks")
    traced.web()
    caller = {"traceparent": TRACEPARENT, "tracestate": "shop=7,other=x"}
    assert traced.post(update(7, 1, "Привіт"), headers=caller).headers["X-Trace-Id"] == TRACE
    wait_until(lambda: "message_failed" in events_of(traced, TRACE), within_s=40)
    replayer = traced.start_module("tests.faults.replayer")
    assert replayer.wait(30) == 0
    wait_until(lambda: "message_finished" in events_of(traced, TRACE), within_s=40)

    steps = [event for event in events_of(traced, TRACE) if event != "request"]
    assert steps == [
        "message_accepted",
        *("message_started", "answered", "message_retried"),
        *("message_started", "message_retried"),
        *("message_started", "message_failed"),
        "message_replayed",
        *("message_started", "delivered", "message_finished"),
    ]
    lines = lines_of(traced, TRACE)
    assert [x["attempt"] for x in lines if x["event"] == "message_started"] == [1, 2, 3, 1]
    in_tasks = [x for x in lines if "attempt" in x]
    assert {(x["session_id"], x["task"]) for x in in_tasks} == {("7", "process_and_respond")}
    assert len({x["task_id"] for x in in_tasks}) == 1
    [failed] = [x for x in lines if x["event"] == "message_failed"]
    assert (failed["level"], failed["code"]) == ("warning", "CHANNEL_REFUSED")

    traced.stop()
    spans = collecting.of(TRACE)
    by_id = {span.span_id: span for span in spans}
    [request] = [span for span in spans if span.name == "POST /webhooks/telegram"]
    assert (request.parent_id, request.kind, request.state) == (CALLER, "server", "shop=7,other=x")
    names = [span.name for span in spans]
    attempts = [span for span in spans if span.name == "process_and_respond"]
    assert [span.attributes["mirt.attempt"] for span in attempts] == [1, 2, 3, 1]
    outcomes = [span.attributes["mirt.outcome"] for span in attempts]
    assert outcomes == ["retried", "retried", "failed", "finished"]
    assert [span.failed for span in attempts] == [True, True, True, False]
    assert names.count("wait llm") == names.count("publish llm") == 4
    assert names.count("agent answer") == names.count("POST llm") == 1
    assert names.count("deliver part") == names.count("POST telegram") == 4

    def chain(span: CollectedSpan) -> list[str]:
        above = by_id.get(span.parent_id)
        return [span.name] if above is None else [*chain(above), span.name]

    webhook = "POST /webhooks/telegram"
    attempt = [webhook, "process_and_respond"]
    for span in spans:
        assert chain(span) in [
            [webhook],
            [webhook, "publish llm"],
            [webhook, "wait llm"],
            attempt,
            [*attempt, "agent answer"],
            [*attempt, "agent answer", "POST llm"],
            [*attempt, "deliver part"],
            [*attempt, "deliver part", "POST telegram"],
        ]
        assert span.started <= span.ended
    processes = {span.resource["mirt.process"] for span in spans}
    assert processes == {"web", "worker", "replayer"}

    calls = [*services.requests("llm"), *services.requests("telegram")]
    assert len(calls) == 5
    outbound = {span.span_id for span in spans if span.kind == "client"}
    for call in calls:
        _, trace_id, parent, flags = call.headers["traceparent"].split("-")
        assert (trace_id, parent in outbound, int(flags, 16) & 1) == (TRACE, True, 1)
        assert call.headers["tracestate"] == "shop=7,other=x"
    assert not any("traceparent" in headers for headers in collecting.requests)
    for secret in ("123456:token", SECRET, "llm-key", "Привіт", services.sent(7)[0]):
        assert not any(secret.encode() in body for body in collecting.bodies)


def test_messages_that_are_answered_together_are_linked(
    traced: Deployment, collecting: Collector
) -> None:
    traced = replace(traced, environment={**traced.environment, "DEBOUNCE_SECONDS": "1"})
    traced.start("worker", "llm")
    traced.web()
    mine = [traced.post(update(7, n, f"m{n}")).headers["X-Trace-Id"] for n in (1, 2, 3)]
    wait_until(lambda: traced.services.sent(7))
    wait_until(lambda: "message_finished" in events_of(traced, mine[0]))
    traced.stop()
    [turn] = [span for span in collecting.of(mine[0]) if span.name == "process_and_respond"]
    webhooks = [
        (span.trace_id, span.span_id)
        for trace_id in mine[1:]
        for span in collecting.of(trace_id)
        if span.kind == "server"
    ]
    assert (list(turn.links), len(webhooks)) == (webhooks, 2)
    for trace_id in mine[1:]:
        assert "answered" in events_of(traced, trace_id)


@pytest.mark.parametrize(
    "illness",
    [
        pytest.param("down", marks=pytest.mark.slow),
        pytest.param("refuses", marks=pytest.mark.slow),
        "hangs",
    ],
)
def test_a_collector_that_is_ill_costs_no_message_and_holds_up_nobody(
    traced: Deployment, collecting: Collector, illness: str
) -> None:
    if illness == "hangs":
        collecting.held.set()
    collecting.status = 503 if illness == "refuses" else 200
    endpoint = "http://127.0.0.1:9" if illness == "down" else collecting.url
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_MAX_QUEUE_SIZE": "8"}
    settings["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"] = "4"
    traced = replace(traced, environment={**traced.environment, **settings})
    worker = traced.start("worker", "llm")
    web = traced.web()
    answers = traced.post_all([update(chat, 1, "Привіт") for chat in range(1, 21)])
    assert {answer.status_code for answer in answers} == {200}
    wait_until(lambda: all(traced.services.sent(chat) for chat in range(1, 21)))
    assert traced.rows("SELECT count(*) FROM dead_letters")[0][0] == 0
    for process in (web, worker):
        process.terminate()
        assert process.wait(15) == 0


def test_without_a_collector_the_trace_goes_on_all_the_same(deployed: Deployment) -> None:
    traced = replace(deployed, environment={**deployed.environment, "LOG_FORMAT": "json"})
    traced.start("worker", "llm")
    traced.web()
    begun = traced.post(update(7, 1, "Привіт")).headers["X-Trace-Id"]
    going_on = {"traceparent": TRACEPARENT, "tracestate": "shop=7"}
    traced.post(update(8, 1, "Привіт"), headers=going_on)
    wait_until(lambda: traced.services.sent(7) and traced.services.sent(8))
    for chat, trace_id in ((7, begun), (8, TRACE)):
        [call] = [
            call
            for call in traced.services.requests("telegram")
            if call.path.endswith("sendMessage") and call.chat == str(chat)
        ]
        assert call.headers["traceparent"].split("-")[1] == trace_id
        wait_until(partial(is_finished, traced, trace_id))
    assert call.headers["tracestate"] == "shop=7"
