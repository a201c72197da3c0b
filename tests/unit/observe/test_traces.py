"""A trace goes on from its caller, and costs nothing where no collector is set."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from mirt.errors import ExternalServiceError
from mirt.observe import secrets, traces
from mirt.observe.traces import SpanContext
from tests.fakes.collector import Collector, collector
from tests.polling import wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
CALLER = SpanContext(TRACE, SPAN, "01", "shop=7")


@pytest.fixture
def collecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector() as current_context:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", current_context.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield current_context
        traces.stop()


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("shop=7,other=x y", "shop=7,other=x y"),
        (" shop=7 ,, other=x", "shop=7,other=x"),
        ("tenant@shop=7", "tenant@shop=7"),
        (None, ""),
        ("", ""),
        ("Shop=7", ""),
        ("shop=7,shop=8", ""),
        ("shop", ""),
        ("shop=7\nX-Evil: 1", ""),
        ("shop=" + "7" * 600, ""),
        (",".join(f"a{n}=1" for n in range(33)), ""),
    ],
)
def test_a_state_that_is_not_valid_is_not_passed_on(state: str | None, kept: str) -> None:
    found = traces.parse_headers(f"00-{TRACE}-{SPAN}-01", state)
    assert found == SpanContext(TRACE, SPAN, "01", kept)


def test_a_trace_goes_on_from_the_context_in_the_message() -> None:
    assert traces.extract(CALLER.options, "task") == CALLER
    assert traces.extract(SpanContext(TRACE).options, "task") == SpanContext(TRACE)


def test_a_message_that_carries_another_trace_than_it_says_belongs_to_what_it_says() -> None:
    options = {**CALLER.options, "trace_id": "a" * 32}
    assert traces.extract(options, "task") == SpanContext("a" * 32)


def test_a_message_without_a_trace_has_the_same_in_each_attempt() -> None:
    first, second, other = (traces.extract({}, task) for task in ("a", "a", "b"))
    assert first == second != other
    assert first.is_valid


def test_calls_carry_the_trace_also_when_nobody_records_it() -> None:
    assert traces.headers() == {}
    with traces.begin("work", SpanContext(TRACE)), traces.span("call", "client"):
        first, second = traces.headers(), traces.headers()
    assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-00", first["traceparent"])
    assert first != second
    with traces.begin("work", CALLER):
        assert traces.headers() == {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "shop=7"}
    assert traces.current_context() is None


def test_a_trace_that_the_log_is_bound_to_goes_on() -> None:
    bound = structlog.contextvars.bound_contextvars(trace_id=TRACE)
    with bound, traces.start_or_join("dispatch") as place:
        assert place.trace_id == TRACE
    with traces.start_or_join("dispatch") as place:
        assert place.is_valid
        assert place.trace_id != TRACE


def test_a_trace_id_is_random_in_all_its_bits() -> None:
    # Of a UUID two of the upper bits that samplers compare are always the same.
    ids = [int(traces.new_trace().trace_id, 16) for _ in range(500)]
    assert all(any(one >> bit & 1 for one in ids) for bit in range(128))
    assert all(any(not one >> bit & 1 for one in ids) for bit in range(128))


@pytest.mark.parametrize(
    ("env", "asked"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "no"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_standard_variables_turn_spans_on_and_off(env: dict[str, str], asked: bool) -> None:
    assert traces.is_asked_for(env) is asked


@pytest.mark.parametrize(
    "env", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_SDK_DISABLED": "true"}]
)
def test_where_nobody_asks_for_spans_no_tracer_is_imported(env: dict[str, str]) -> None:
    program = """
import sys
from mirt.observe import traces
traces.start("test")
assert not traces.is_on()
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
import service.wsgi, service.processes.worker_main
tracers = ("opentelemetry.sdk.trace", "opentelemetry.exporter")
assert not [name for name in sys.modules if name.startswith(tracers)]
"""
    subprocess.run([sys.executable, "-c", program], env={**os.environ, **env}, check=True)


def test_a_root_has_the_trace_id_that_its_trace_has_already(collecting: Collector) -> None:
    traces.start("test")
    with traces.begin("root", SpanContext(TRACE), "server") as root:
        assert root.context.trace_id == TRACE
        with traces.span("child", "client", {"n": 1}) as child:
            assert traces.headers()["traceparent"].split("-")[1:3] == [TRACE, child.context.span_id]
    traces.stop()
    first, second = sorted(collecting.of(TRACE), key=lambda span: span.parent_id)
    assert (first.name, first.parent_id, first.kind) == ("root", "", "server")
    assert (second.name, second.parent_id, second.attributes) == ("child", first.span_id, {"n": 1})


@pytest.mark.parametrize(("flags", "seen"), [("00", 0), ("01", 1)])
def test_a_trace_that_the_caller_does_not_sample_is_not_sampled(
    collecting: Collector, flags: str, seen: int
) -> None:
    traces.start("test")
    with traces.begin("work", SpanContext(TRACE, SPAN, flags)):
        assert int(traces.headers()["traceparent"][-2:], 16) & 1 == seen
    traces.stop()
    assert len(collecting.spans) == seen


def test_a_sampler_sees_its_share_of_the_traces_that_begin_here(
    collecting: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    traces.start("test")
    for _ in range(400):
        with traces.begin("root", traces.new_trace()):
            pass
    traces.stop()
    assert 50 < len(collecting.spans) < 160


def test_a_span_says_what_has_failed_and_no_secret_and_nobodys_words(collecting: Collector) -> None:
    secrets.use(["123456:token"])
    traces.start("test")
    with pytest.raises(ExternalServiceError), traces.begin("ours", SpanContext(TRACE)):
        raise ExternalServiceError("telegram", "/bot123456%3Atoken/sendMessage answered 500")
    with pytest.raises(ValueError, match="wrong"), traces.begin("theirs", SpanContext(TRACE)):
        raise ValueError("wrong: моя картка 4111")
    with traces.begin("noted", SpanContext(TRACE)) as noted:
        noted.set_attributes({"url": "http://x/bot123456:token", "nothing": None})
    traces.stop()
    secrets.use(())
    ours, theirs, last = collecting.of(TRACE)
    assert (ours.failed, theirs.failed, last.failed) == (True, True, False)
    assert "ExternalServiceError: telegram: /bot[secret]/sendMessage answered 500" in ours.said
    assert "ValueError" in theirs.said
    assert "raise ValueError" in theirs.said
    assert last.attributes == {"url": "http://x/bot[secret]"}
    sent = b"".join(collecting.bodies).decode(errors="replace")
    for word in ("token", "4111 ", "4111'"):
        assert word not in sent.replace('raise ValueError("wrong: моя картка 4111")', "")


def test_a_message_that_begins_a_trace_is_linked_to_what_led_to_it(collecting: Collector) -> None:
    traces.start("test")
    with traces.begin("cause", SpanContext(TRACE)) as cause:
        options = traces.new_options("send_followup")
        assert traces.child_options("send_followup")["trace_id"] == TRACE
    traces.stop()
    [created] = collecting.of(options["trace_id"])
    assert created.links == [(TRACE, cause.context.span_id)]
    assert traces.extract(options, "t").span_id == created.span_id


def test_a_span_of_what_is_over_has_its_own_times(collecting: Collector) -> None:
    traces.start("test")
    started = datetime(2026, 11, 24, 12, tzinfo=UTC)
    traces.record_span("wait llm", CALLER, started, started + timedelta(seconds=3))
    traces.stop()
    [span] = collecting.of(TRACE)
    assert (span.started, span.ended - span.started) == (started, timedelta(seconds=3))
    assert (span.parent_id, span.state) == (SPAN, "shop=7")


def test_spans_are_sent_from_each_process_after_a_fork(collecting: Collector) -> None:
    def in_a_child() -> int:
        traces.start("child")
        with traces.begin("work", SpanContext(TRACE)):
            pass
        traces.stop()
        return 0

    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            os._exit(in_a_child())
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
    wait_until(lambda: len(collecting.of(TRACE)) == 3)
    assert len({span.span_id for span in collecting.of(TRACE)}) == 3
    assert len({span.resource["service.instance.id"] for span in collecting.of(TRACE)}) == 3


def test_the_resource_is_as_the_environment_says(
    collecting: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    names: list[Any] = []
    for service in (None, "shop"):
        if service:
            monkeypatch.setenv("OTEL_SERVICE_NAME", service)
        traces.start("test")
        with traces.begin("work", traces.new_trace()):
            pass
        traces.stop()
        names.append(collecting.spans[-1].resource["service.name"])
    assert names == ["mirt", "shop"]
    assert collecting.spans[-1].resource["deployment.environment"] == "test"


def test_variables_that_are_wrong_cost_spans_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with capture_logs() as lines:
        traces.start("test")
    assert [line["event"] for line in lines] == ["traces_not_exported"]
    assert not traces.is_on()
    with traces.begin("work", CALLER):
        assert traces.headers() == CALLER.context
