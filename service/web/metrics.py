"""Serve ``/metrics`` for Prometheus."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import falcon
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from broker.durable import DurableBroker
from broker.task import registry
from middleware.policy import QUEUES, TASKS
from mirt.errors import WorkerError
from mirt.metrics import StoreMetrics
from mirt.observe import metrics
from mirt.observe.multiprocess import measured_here
from mirt.runtime import Runtime
from service.web.bulkhead import Bulkhead

log = structlog.get_logger(__name__)

Source = Callable[[], Sequence[Metric]]
"""A function that looks up metrics; raises WorkerError if it cannot."""
SOURCE_TIMEOUT_S: Final = 2.0
"""For each source. Prometheus waits 10 s, and meanwhile a thread that answers webhooks is busy."""


class MetricsResource:
    """Metrics that this ingress has measured, and those of the whole service.

    Each ingress returns the same metrics of the whole service. If a source cannot be read, its
    metrics are left out and ``mirt_source_readable`` is 0: metrics matter most during an outage.
    """

    def __init__(self, runtime: Runtime) -> None:
        """Register the sources. Call it in the process that serves: it starts threads."""
        queues = {task.name: task.queue for task in TASKS.values()}
        store = StoreMetrics(runtime.database, runtime.clock, queues)
        self._registry = CollectorRegistry()
        self._registry.register(measured_here())
        sources: dict[str, Source] = {"database": store.read}
        if runtime.settings.rabbitmq_url is not None:
            sources["rabbitmq"] = lambda: _rabbitmq(registry.broker)
        self._registry.register(Sources(sources))

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer in the text format of Prometheus."""
        resp.data = generate_latest(self._registry)
        resp.content_type = CONTENT_TYPE_LATEST


class Sources(Collector):
    """Collector that reads each source, for a limited time."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = {
            name: (read, Bulkhead(f"metrics-{name}", threads=1, within_s=SOURCE_TIMEOUT_S))
            for name, read in sources.items()
        }

    def collect(self) -> Iterable[Metric]:
        """Read every source and yield its metrics."""
        readable = []
        for name, (read, bulkhead) in self._sources.items():
            try:
                looked_up = bulkhead.call(read)
            except WorkerError as failed:
                log.warning("figures_not_read", source=name, why=failed.message)
                readable.append((name, 0.0))
            else:
                readable.append((name, 1.0))
                yield from looked_up
        yield metrics.SOURCE_READABLE.of(*readable)


def _rabbitmq(broker: DurableBroker) -> Sequence[Metric]:
    depths = broker.depths() if broker.depths is not None else {}
    return [
        metrics.RABBITMQ_READY.of(*((queue, depth.ready) for queue, depth in depths.items())),
        metrics.RABBITMQ_CONSUMERS.of(
            # Workers do not consume the queues of rejects.
            *((queue, depth.consumers) for queue, depth in depths.items() if queue in QUEUES)
        ),
    ]
