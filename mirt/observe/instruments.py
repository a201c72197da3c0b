"""Builds metrics: counters, gauges, histograms. ``mirt.observe.metrics`` lists them all.

The values are those of this process, in memory, until ``mirt.observe.multiprocess`` stores them in
files that a supervisor shares with its workers.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import prometheus_client
from prometheus_client.core import GaugeMetricFamily, Metric
from typing_extensions import override

# The series with creation times would double the number of series, and have no use here.
prometheus_client.disable_created_metrics()

Several = Literal["livesum", "livemostrecent"]
LIVE_SUM: Final = "livesum"
"""Gauges of several processes are added up; those of dead processes vanish."""
LATEST: Final = "livemostrecent"
"""Of several living processes the gauge that was set last counts: they measure the same."""


class Instrument:
    """A metric that this process changes.

    Each change names the labels; other names than the listed ones raise ``ValueError``. Label
    values must come from a small known set, never from outside.
    """

    def __init__(self, name: str, help_text: str, *labels: str) -> None:
        self.name: Final = name
        self.help_text: Final = help_text
        self.labels: Final = labels
        self.reopen()

    def reopen(self) -> None:
        """Begin at zero, with the class of values that prometheus_client makes now."""
        raise NotImplementedError

    def collect(self) -> Iterable[Metric]:
        """Return the values of this process."""
        raise NotImplementedError


class Counter(Instrument):
    """A number of events; it never falls."""

    @override
    def reopen(self) -> None:
        self._metric = prometheus_client.Counter(
            self.name, self.help_text, self.labels, registry=None
        )

    def inc(self, by: float = 1, **labels: str) -> None:
        """Count ``by`` more events."""
        (self._metric.labels(**labels) if labels else self._metric).inc(by)

    @override
    def collect(self) -> Iterable[Metric]:
        return self._metric.collect()


class Gauge(Instrument):
    """An amount at this moment. ``several`` says what counts if several processes have one."""

    def __init__(
        self, name: str, help_text: str, *labels: str, several: Several = LIVE_SUM
    ) -> None:
        self._several = several
        super().__init__(name, help_text, *labels)

    @override
    def reopen(self) -> None:
        self._metric = prometheus_client.Gauge(
            self.name, self.help_text, self.labels, registry=None, multiprocess_mode=self._several
        )

    def inc(self, by: float = 1, **labels: str) -> None:
        """Add ``by`` to the amount."""
        (self._metric.labels(**labels) if labels else self._metric).inc(by)

    def dec(self, by: float = 1, **labels: str) -> None:
        """Subtract ``by`` from the amount."""
        self.inc(-by, **labels)

    def set(self, value: float, **labels: str) -> None:
        """Set the amount."""
        (self._metric.labels(**labels) if labels else self._metric).set(value)

    @override
    def collect(self) -> Iterable[Metric]:
        return self._metric.collect()


class Histogram(Instrument):
    """Durations in seconds, or other amounts, counted by the upper bounds of ``buckets``."""

    def __init__(self, name: str, help_text: str, *labels: str, buckets: Sequence[float]) -> None:
        self.buckets: Final = buckets
        super().__init__(name, help_text, *labels)

    @override
    def reopen(self) -> None:
        self._metric = prometheus_client.Histogram(
            self.name, self.help_text, self.labels, registry=None, buckets=self.buckets
        )

    def observe(self, amount: float, **labels: str) -> None:
        """Count one duration, or another amount."""
        (self._metric.labels(**labels) if labels else self._metric).observe(amount)

    @override
    def collect(self) -> Iterable[Metric]:
        return self._metric.collect()


class LookupGauge:
    """A metric that is looked up for each scrape; no process stores it."""

    def __init__(self, name: str, help_text: str, *labels: str) -> None:
        self.name: Final = name
        self.help_text: Final = help_text
        self.labels: Final = labels

    def of(self, *rows: tuple[*tuple[str, ...], float]) -> Metric:
        """Return the metric with these rows: the values of the labels, then the number."""
        metric = GaugeMetricFamily(self.name, self.help_text, labels=self.labels)
        for *labels, number in rows:
            metric.add_metric([str(label) for label in labels], float(number))
        return metric
