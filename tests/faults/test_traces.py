"""One trace id finds everything that happened to a message: in the logs, as spans, outside."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import pytest

from tests.deployment import SECRET, Deployment, deployment, update
from tests.fakes import FakeServices, Status
from tests.fakes.collector import CollectedSpan, Collector, collector
from tests.polling import wait_until
from tests.servers import Postgres, RabbitMQ, Redis

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
    environment = {**deployed.environment, **exporting_to(collecting)}
    return replace(deployed, environment=environment)


def exporting_to(collecting: Collector) -> dict[str, str]:
    """Return the settings of processes that export their spans to this collector."""
    return {
        "LOG_FORMAT": "json",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collecting.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


def lines_of(deployed: Deployment, trace_id: str) -> list[dict[str, Any]]:
    """Return the log lines of a trace from all processes, by their time."""
    lines = [json.loads(line) for line in deployed.log_text().splitlines() if trace_id in line]
    return sorted(lines, key=lambda line: line["timestamp"])


def events_of(deployed: Deployment, trace_id: str) -> list[str]:
    return [line["event"] for line in lines_of(deployed, trace_id)]


def is_finished(deployed: Deployment, trace_id: str) -> bool:
    return "message_finished" in events_of(deployed, trace_id)


@dataclass(frozen=True)
class Journey:
    """A message that failed twice, died, and was replayed; every process of it has ended."""

    deployed: Deployment
    collected: Collector
    trace_id_answered: str | None
    """The header ``X-Trace-Id`` of the webhook's answer."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        return lines_of(self.deployed, TRACE)

    @property
    def spans(self) -> list[CollectedSpan]:
        return self.collected.of(TRACE)


@pytest.fixture(scope="module")
def journey(
    tmp_path_factory: pytest.TempPathFactory,
    rabbitmq: RabbitMQ,
    redis_server: Redis,
    postgres: Postgres,
) -> Iterator[Journey]:
    """Let a message go wrong in every way, once for all tests that look at its trace."""
    with ExitStack() as stack:
        services = stack.enter_context(FakeServices())
        collecting = stack.enter_context(collector())
        servers = {
            "RABBITMQ_URL": stack.enter_context(rabbitmq.isolated()),
            "REDIS_URL": stack.enter_context(redis_server.isolated()),
            "DATABASE_URL": stack.enter_context(postgres.isolated()),
        }
        logs = tmp_path_factory.mktemp("journey")
        settings = exporting_to(collecting)
        deployed = stack.enter_context(deployment(services, logs, servers, **settings))
        services.misbehave("telegram", FAILING, times=2, path="sendMessage")
        services.misbehave("telegram", REFUSED, path="sendMessage")
        deployed.start("worker", "llm", "webhooks")
        deployed.web()
        caller = {"traceparent": TRACEPARENT, "tracestate": "shop=7,other=x"}
        answer = deployed.post(update(7, 1, "Привіт"), headers=caller)
        wait_until(lambda: "message_failed" in events_of(deployed, TRACE), within_s=60)
        replayer = deployed.start_module("tests.faults.replayer")
        assert replayer.wait(60) == 0
        wait_until(partial(is_finished, deployed, TRACE), within_s=60)
        deployed.stop()
        yield Journey(deployed, collecting, answer.headers.get("X-Trace-Id"))


def test_the_log_lines_of_one_trace_id_tell_every_step_in_order(journey: Journey) -> None:
    assert journey.trace_id_answered == TRACE
    steps = [line["event"] for line in journey.lines if line["event"] != "request"]
    assert steps == [
        "message_accepted",
        *("message_started", "answered", "message_retried"),
        *("message_started", "message_retried"),
        *("message_started", "message_failed"),
        "message_replayed",
        *("message_started", "delivered", "message_finished"),
    ]
    attempts = [line["attempt"] for line in journey.lines if line["event"] == "message_started"]
    assert attempts == [1, 2, 3, 1]
    in_tasks = [line for line in journey.lines if "attempt" in line]
    assert {(x["session_id"], x["task"]) for x in in_tasks} == {("7", "process_and_respond")}
    assert len({line["task_id"] for line in in_tasks}) == 1
    [failed] = [line for line in journey.lines if line["event"] == "message_failed"]
    assert (failed["level"], failed["code"]) == ("warning", "CHANNEL_REFUSED")


def test_the_spans_of_a_trace_are_one_tree_below_its_webhook(journey: Journey) -> None:
    spans = journey.spans
    by_id = {span.span_id: span for span in spans}
    [request] = [span for span in spans if span.name == "POST /webhooks/telegram"]
    assert (request.parent_id, request.kind, request.state) == (CALLER, "server", "shop=7,other=x")
    names = [span.name for span in spans]
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


def test_the_span_of_each_attempt_says_how_it_ended(journey: Journey) -> None:
    attempts = [span for span in journey.spans if span.name == "process_and_respond"]
    assert [span.attributes["mirt.attempt"] for span in attempts] == [1, 2, 3, 1]
    outcomes = [span.attributes["mirt.outcome"] for span in attempts]
    assert outcomes == ["retried", "retried", "failed", "finished"]
    assert [span.failed for span in attempts] == [True, True, True, False]


def test_every_outbound_request_carries_the_trace(journey: Journey) -> None:
    services = journey.deployed.services
    calls = [*services.requests("llm"), *services.requests("telegram")]
    assert len(calls) == 5
    outbound = {span.span_id for span in journey.spans if span.kind == "client"}
    for call in calls:
        _, trace_id, parent, flags = call.headers["traceparent"].split("-")
        assert (trace_id, parent in outbound, int(flags, 16) & 1) == (TRACE, True, 1)
        assert call.headers["tracestate"] == "shop=7,other=x"
    assert not any("traceparent" in headers for headers in journey.collected.requests)


def test_the_spans_have_the_attributes_of_the_conventions(journey: Journey) -> None:
    spans = journey.spans
    for name, operation in (("publish llm", "send"), ("process_and_respond", "process")):
        about = next(span.attributes for span in spans if span.name == name)
        assert (about["messaging.system"], about["messaging.operation.type"]) == (
            "rabbitmq",
            operation,
        )
        assert about["messaging.destination.name"] == "llm"
    asked = next(span.attributes for span in spans if span.name == "agent answer")
    assert (asked["gen_ai.operation.name"], asked["gen_ai.provider.name"]) == ("chat", "openai")
    assert {"gen_ai.request.model", "gen_ai.response.model"} <= asked.keys()


def test_every_process_of_a_message_exports_its_spans(journey: Journey) -> None:
    processes = {span.resource["mirt.process"] for span in journey.spans}
    assert processes == {"web", "worker", "replayer"}


def test_no_span_has_a_secret_or_a_text_of_the_conversation(journey: Journey) -> None:
    [reply] = journey.deployed.services.sent(7)
    for secret in ("123456:token", SECRET, "llm-key", "Привіт", reply):
        assert not any(secret.encode() in body for body in journey.collected.bodies)


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
    "failure",
    [
        pytest.param("down", marks=pytest.mark.slow),
        pytest.param("refuses", marks=pytest.mark.slow),
        "hangs",
    ],
)
def test_a_collector_that_is_ill_costs_no_message_and_no_time(
    traced: Deployment, collecting: Collector, failure: str
) -> None:
    if failure == "hangs":
        collecting.held.set()
    collecting.status = 503 if failure == "refuses" else 200
    endpoint = "http://127.0.0.1:9" if failure == "down" else collecting.url
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
