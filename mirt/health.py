"""Check whether a worker reaches its dependencies, by a real request to each of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis import RedisError

from mirt.clock import Clock
from mirt.errors import WorkerError
from mirt.store.engine.database import Database
from mirt.store.queue import health_checks as store
from mirt.store.queue.health_checks import HealthCheck

log = structlog.get_logger(__name__)

Probe = Callable[[], object]
"""A request to a dependency. It raises ``WorkerError`` or ``RedisError`` on failure."""
OK: Final = "ok"
OFF: Final = "off"
"""The result for a dependency that is not configured, and not needed in this mode."""


@dataclass(frozen=True, slots=True)
class Health:
    """The health check of a process. Its results are stored, so that every process can read them.

    ``probes`` has ``None`` for a dependency that is not configured.
    """

    database: Database
    probes: Mapping[str, Probe | None]
    clock: Clock

    def check(self, worker_id: str, **others: Probe | None) -> dict[str, Any]:
        """Run all probes, with ``others``, and store and return the result.

        Returns ``{status: "healthy"|"degraded", timestamp, worker_id, checks}``. A result that
        cannot be stored is logged. Raises nothing.
        """
        checks = {name: _run(name, probe) for name, probe in {**self.probes, **others}.items()}
        status = "healthy" if set(checks.values()) <= {OK, OFF} else "degraded"
        found = HealthCheck(worker_id, status, checks, self.clock())
        try:
            with self.database.transaction() as tx:
                store.report(tx, found)
        except WorkerError as failed:
            log.warning("health_not_reported", why=failed.message)
        return {
            "status": status,
            "timestamp": found.checked_at.isoformat(),
            "worker_id": worker_id,
            "checks": checks,
        }

    def latest(self) -> HealthCheck | None:
        """Return the latest check of any worker.

        Raises:
            DatabaseError: the database cannot be reached.
        """
        with self.database.transaction() as tx:
            return store.latest(tx)


def _run(name: str, probe: Probe | None) -> str:
    if probe is None:
        return OFF
    try:
        probe()
    except (WorkerError, RedisError) as failed:
        # The text of the error may name hosts and users, so only the log gets it.
        log.warning("probe_failed", dependency=name, why=str(failed))
        return f"failed: {type(failed).__name__}"
    return OK
