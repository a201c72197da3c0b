"""The register: what it refuses, and that its names are as Prometheus wants them."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from mirt.observe import metrics
from mirt.observe.instruments import Counter, Gauge, Histogram, LookupGauge
from mirt.observe.metrics import REGISTER
from mirt.observe.multiprocess import OneProcess
from tests.scrape import Scrape

ROOT = Path(__file__).parents[3]


def here() -> Scrape:
    registry = CollectorRegistry()
    registry.register(OneProcess())
    return Scrape.of(generate_latest(registry).decode())


def test_a_label_that_is_not_listed_is_refused() -> None:
    with pytest.raises(ValueError, match="label"):
        metrics.WEBHOOKS.inc(channel="telegram", result="accepted")


def test_each_sample_is_there_with_its_labels() -> None:
    before = here()
    metrics.WEBHOOKS.inc(channel="telegram", outcome="shed")
    metrics.HTTP_SECONDS.observe(0.02, route="/healthz", status="200")
    metrics.WORKER_THREADS_BUSY.inc()
    metrics.WORKER_THREADS_BUSY.dec()
    after = here()
    for name, by in (
        ("mirt_webhooks_total", 1),
        ("mirt_http_request_seconds_count", 1),
        ("mirt_worker_threads_busy", 0),
    ):
        assert after.sum(name) - before.sum(name) == by
    shed = {"channel": "telegram", "outcome": "shed"}
    assert after.sum("mirt_webhooks_total", **shed) > before.sum("mirt_webhooks_total", **shed)


def test_a_figure_is_shown_as_it_was_looked_up() -> None:
    family = metrics.TASKS.of(("default", "ping", "ready", 3), ("default", "ping", "running", 1))
    assert [(sample.labels, sample.value) for sample in family.samples] == [
        ({"queue": "default", "task": "ping", "state": "ready"}, 3),
        ({"queue": "default", "task": "ping", "state": "running"}, 1),
    ]


@pytest.mark.parametrize("name", REGISTER)
def test_every_name_tells_its_unit(name: str) -> None:
    metric = REGISTER[name]
    assert re.fullmatch(r"mirt(_[a-z]+)+", name)
    assert isinstance(metric, Counter) == name.endswith("_total")
    if isinstance(metric, Histogram):
        assert name.endswith(("_seconds", "_attempts"))
        assert list(metric.buckets) == sorted(set(metric.buckets))
    if isinstance(metric, Gauge | LookupGauge):
        assert not name.endswith(("_count", "_sum", "_bucket"))
    assert metric.help_text.endswith(".")


def test_every_metric_of_the_register_is_measured_somewhere() -> None:
    names = [name for name, value in vars(metrics).items() if value in REGISTER.values()]
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for room in ("service", "actors", "broker", "middleware", "mirt")
        for path in (ROOT / room).rglob("*.py")
        if path != Path(metrics.__file__)
    )
    assert [name for name in names if not re.search(rf"\b{name}\b\.?", code)] == []
    assert len(names) == len(REGISTER)
