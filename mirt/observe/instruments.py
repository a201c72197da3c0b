"""What a metric is made of. Which there are stands in ``mirt.observe.metrics``, and only there.

Values are this process's own, in memory, until ``mirt.observe.multiprocess`` keeps them in files
that a supervisor shares with its workers.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import prometheus_client
from prometheus_client.core import GaugeMetricFamily, Metric

# When a series has begun is nobody's question, and doubles their number.
prometheus_client.disable_created_metrics()

LIVE_SUM: Final = "livesum"
"""Gauges of several processes are added up; those of dead ones vanish."""


class Instrument:
    """A metric that this process changes.

    Its labels are named with each change; other names than the listed ones raise ``ValueError``.
    What a label holds must be of a set that we know: nothing that comes from outside.
    """

    def __init__(self, name: str, says: str, *labels: str) -> None:
        self.name: Final = name
        self.says: Final = says
        self.labels: Final = labels
        self.reopen()

    def reopen(self) -> None:
        """Begin anew, with the kind of value that prometheus_client is set to make now."""
        raise NotImplementedError

    def collect(self) -> Iterable[Metric]:
        """What this process has measured."""
        raise NotImplementedError


class Counter(Instrument):
    """How often something has happened; it never goes down."""

    def reopen(self) -> None:
        """Begin at nothing."""
        self._metric = prometheus_client.Counter(self.name, self.says, self.labels, registry=None)

    def inc(self, by: float = 1, **labels: str) -> None:
        """It has happened once more."""
        (self._metric.labels(**labels) if labels else self._metric).inc(by)

    def collect(self) -> Iterable[Metric]:
        """What this process has counted."""
        return self._metric.collect()


class Gauge(Instrument):
    """How much there is at this moment."""

    def reopen(self) -> None:
        """Begin at nothing."""
        self._metric = prometheus_client.Gauge(
            self.name, self.says, self.labels, registry=None, multiprocess_mode=LIVE_SUM
        )

    def inc(self, by: float = 1, **labels: str) -> None:
        """There is more of it."""
        (self._metric.labels(**labels) if labels else self._metric).inc(by)

    def dec(self, by: float = 1, **labels: str) -> None:
        """There is less of it."""
        self.inc(-by, **labels)

    def set(self, value: float, **labels: str) -> None:
        """There is so much of it."""
        (self._metric.labels(**labels) if labels else self._metric).set(value)

    def collect(self) -> Iterable[Metric]:
        """What this process has."""
        return self._metric.collect()


class Histogram(Instrument):
    """How long something took, in seconds, counted by the upper bounds of ``buckets``."""

    def __init__(self, name: str, says: str, *labels: str, buckets: Sequence[float]) -> None:
        self.buckets: Final = buckets
        super().__init__(name, says, *labels)

    def reopen(self) -> None:
        """Begin at nothing."""
        self._metric = prometheus_client.Histogram(
            self.name, self.says, self.labels, registry=None, buckets=self.buckets
        )

    def observe(self, seconds: float, **labels: str) -> None:
        """It has taken so long."""
        (self._metric.labels(**labels) if labels else self._metric).observe(seconds)

    def collect(self) -> Iterable[Metric]:
        """What this process has measured."""
        return self._metric.collect()


class LookupGauge:
    """A metric that is looked up when somebody asks, and that no process keeps."""

    def __init__(self, name: str, says: str, *labels: str) -> None:
        self.name: Final = name
        self.says: Final = says
        self.labels: Final = labels

    def of(self, *found: tuple[*tuple[str, ...], float]) -> Metric:
        """The metric with what was found: the values of the labels, then the number."""
        metric = GaugeMetricFamily(self.name, self.says, labels=self.labels)
        for *labels, number in found:
            metric.add_metric([str(label) for label in labels], float(number))
        return metric
