"""What Prometheus scrapes."""

import falcon
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from mirt.metrics import StoreCollector
from mirt.runtime import Runtime


class Metrics:
    """The metrics of the whole service: any one of its ingresses gives all of them."""

    def __init__(self, world: Runtime) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(StoreCollector(world.database, world.clock))

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer in the text format; 503 while the database cannot be asked."""
        resp.data = generate_latest(self._registry)
        resp.content_type = CONTENT_TYPE_LATEST
