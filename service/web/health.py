"""Two questions that a machine asks: is the process alive, and should it be sent requests.

``/healthz`` is for whoever restarts processes. It asks no dependency, since no restart heals a
database: an outage must not become a wave of restarts.

``/readyz`` is for whoever routes requests, a load balancer, and for the operator. Only what a
message cannot be kept without makes it 503: the database. Without RabbitMQ messages are kept and
published later, without Redis duplicates are found by the database; taking a process out of service
for those would refuse messages that it can take, so they are 200 ``degraded``.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from typing import Final

import falcon
import structlog

from broker.task import registry
from mirt.errors import BrokerUnavailableError
from mirt.health import OK, Probe
from mirt.runtime import Runtime
from mirt.store.engine.stores import stores
from mirt.store.queue.health_checks import HealthCheck
from service.web.errors import unavailable

log = structlog.get_logger(__name__)

ESSENTIAL: Final = frozenset({"database"})
WITHIN_S: Final = 1.0


def probes_of(runtime: Runtime) -> dict[str, Probe]:
    """A probe for each dependency that is configured."""
    probes: dict[str, Probe] = {"database": runtime.database.ping}
    redis = stores(runtime.settings).redis
    if redis is not None:
        probes["redis"] = redis.ping
    if runtime.settings.rabbitmq_url is not None:
        probes["rabbitmq"] = _ask_rabbitmq
    return probes


def _ask_rabbitmq() -> None:
    if not registry.broker.ready:
        raise BrokerUnavailableError("there is no connection that takes messages")


class Alive:
    """The process runs and has a thread to answer with."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200, whatever has become of the world."""
        resp.media = {"status": "alive"}

    on_head = on_get


class Ready:
    """Asks every dependency, all at once, and waits ``within_s`` seconds for their answers."""

    def __init__(
        self,
        probes: Mapping[str, Probe],
        latest: Callable[[], HealthCheck | None],
        *,
        within_s: float = WITHIN_S,
    ) -> None:
        """Take the probes, and what knows of the workers' own latest check."""
        self._probes = {name: _Probe(name, ask) for name, ask in probes.items()}
        self._workers = _Probe("workers", latest)
        self._within_s = within_s

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 ``ready`` or ``degraded``, or 503 when messages cannot be kept.

        ``checks`` is what this process finds, ``workers`` what a worker has last found.
        """
        asked = {name: probe.ask() for name, probe in self._probes.items()}
        workers = self._workers.ask()
        wait([*asked.values(), workers], timeout=self._within_s)
        checks = {name: self._verdict(name, answer) for name, answer in asked.items()}
        found = {"checks": checks, **_reported(workers)}
        failing = sorted(name for name, verdict in checks.items() if verdict != OK)
        if ESSENTIAL.isdisjoint(failing):
            resp.media = {"status": "degraded" if failing else "ready", **found}
            return
        unavailable(resp, _in_words(failing, checks))
        resp.media = {"status": "unavailable", **found, **resp.media}

    on_head = on_get

    def _verdict(self, name: str, answer: "Future[object]") -> str:
        if not answer.done():
            return f"no answer within {self._within_s:g} s"
        failed = answer.exception()
        if failed is None:
            return OK
        # The text of the error may name hosts and users: it is for the log only.
        log.warning("probe_failed", dependency=name, why=str(failed))
        return f"failed: {type(failed).__name__}"


class _Probe:
    """Asks one question at a time: whoever comes meanwhile shares the answer.

    So a dependency that hangs holds one thread, however often it is asked after.
    """

    def __init__(self, name: str, probe: Probe) -> None:
        self._probe = probe
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"probe-{name}")
        self._lock = threading.Lock()
        self._answer: Future[object] | None = None

    def ask(self) -> "Future[object]":
        """The answer that is awaited, now or already before."""
        with self._lock:
            if self._answer is None or self._answer.done():
                self._answer = self._thread.submit(self._probe)
            return self._answer


def _reported(workers: "Future[object]") -> dict[str, object]:
    check = workers.result() if workers.done() and workers.exception() is None else None
    if not isinstance(check, HealthCheck):
        return {}
    timestamp = check.checked_at.isoformat()
    return {"workers": {**asdict(check), "checked_at": timestamp}}


def _in_words(failing: Iterable[str], checks: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {checks[name]}" for name in failing)
