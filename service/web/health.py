"""Answer the health checks: ``/healthz`` (is it alive) and ``/readyz`` (should it get requests).

``/healthz`` is for the system that restarts processes. It asks no dependency, because no restart
heals a database: an outage must not become a wave of restarts.

``/readyz`` is for the load balancer and the operator. It is 503 only without the database, because
then no message can be stored. Without RabbitMQ messages are stored and published later. Without
Redis the database finds duplicates. A process that is taken out of service for those would refuse
messages that it can store, so they are 200 ``degraded``.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Final

import falcon
import falcon.asgi
import structlog

from broker.task import registry
from mirt.clock import deadline_in
from mirt.errors import BrokerUnavailableError, DatabaseError, SoftTimeLimitExceeded
from mirt.health import OK, Probe
from mirt.runtime import Runtime
from mirt.store.engine.stores import stores
from mirt.store.queue import workers
from mirt.store.queue.health_checks import HealthCheck
from mirt.store.queue.workers import WorkerRow
from service.web.errors import unavailable

log = structlog.get_logger(__name__)

ESSENTIAL: Final = frozenset({"database"})
PROBE_TIMEOUT_S: Final = 1.0
REPORTS_TIMEOUT_S: Final = 0.5


def probes_of(runtime: Runtime) -> dict[str, Probe]:
    """Return a probe for each dependency that is configured."""
    probes: dict[str, Probe] = {"database": runtime.database.ping}
    redis = stores(runtime.settings).redis
    if redis is not None:
        probes["redis"] = redis.ping
    if runtime.settings.rabbitmq_url is not None:
        probes["rabbitmq"] = partial(_ask_rabbitmq, runtime)
    return probes


class NotReceivedError(BrokerUnavailableError):
    """A worker receives nothing from a queue. The text names queues only, so anyone may read it."""


def _ask_rabbitmq(runtime: Runtime) -> None:
    """Ask our own connection, and what the workers report about theirs.

    Raises:
        BrokerUnavailableError: no connection accepts messages, or a worker reports a problem.
    """
    if not registry.broker.ready:
        raise BrokerUnavailableError("no connection accepts messages")
    living: list[WorkerRow] = []
    # Without the database only our own connection can be judged.
    with (
        suppress(DatabaseError, SoftTimeLimitExceeded),
        deadline_in(REPORTS_TIMEOUT_S),
        runtime.database.transaction() as tx,
    ):
        living = workers.living(tx, now=runtime.clock())
    if subjects := sorted({subject for one in living for subject in one.problems or {}}):
        raise NotReceivedError(f"a worker has a problem with {', '.join(subjects)}: mirt doctor")


class Liveness:
    """``/healthz``: the process runs and its event loop answers."""

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Answer 200, also while every dependency is down."""
        resp.media = {"status": "alive"}

    on_head = on_get


class Readiness:
    """``/readyz``: asks all dependencies at once and waits ``within_s`` seconds for the answers."""

    def __init__(
        self,
        probes: Mapping[str, Probe],
        latest: Callable[[], HealthCheck | None],
        *,
        within_s: float = PROBE_TIMEOUT_S,
    ) -> None:
        """Take the probes, and a function that returns the latest health check of a worker."""
        self._probes = {name: _Probe(name, ask) for name, ask in probes.items()}
        self._workers = _Probe("workers", latest)
        self._within_s = within_s

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 ``ready`` or ``degraded``, or 503 when messages cannot be stored.

        ``checks`` are the results of this process, ``workers`` the latest results of a worker.
        """
        answers = {name: probe.ask() for name, probe in self._probes.items()}
        workers = self._workers.ask()
        wait([*answers.values(), workers], timeout=self._within_s)
        checks = {name: self._status_of(name, answer) for name, answer in answers.items()}
        results = {"checks": checks, **_reported(workers)}
        failing = sorted(name for name, status in checks.items() if status != OK)
        if ESSENTIAL.isdisjoint(failing):
            resp.media = {"status": "degraded" if failing else "ready", **results}
            return
        unavailable(resp, _in_words(failing, checks))
        resp.media = {"status": "unavailable", **results, **resp.media}

    on_head = on_get

    def _status_of(self, name: str, answer: "Future[object]") -> str:
        if not answer.done():
            return f"no answer within {self._within_s:g} s"
        failed = answer.exception()
        if failed is None:
            return OK
        # The text of the error may name hosts and users, so it goes to the log only.
        log.warning("probe_failed", dependency=name, why=str(failed))
        if isinstance(failed, NotReceivedError):
            return f"failed: {failed.message}"
        return f"failed: {type(failed).__name__}"


class _Probe:
    """Runs one probe at a time; callers that come meanwhile share its answer.

    So a dependency that hangs blocks one thread, however many requests ask for it.
    """

    def __init__(self, name: str, probe: Probe) -> None:
        self._probe = probe
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"probe-{name}")
        self._lock = threading.Lock()
        self._answer: Future[object] | None = None

    def ask(self) -> "Future[object]":
        """Return the answer of the running probe; start one if none runs."""
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
