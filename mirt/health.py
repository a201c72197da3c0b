"""How well a worker can reach what it depends on: each is really asked."""

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
"""Asks a dependency; raises when it is not well."""
OK: Final = "ok"
OFF: Final = "off"
"""It is not configured, and not needed in this mode."""


@dataclass(frozen=True, slots=True)
class Health:
    """Asks the dependencies of a process, and keeps what was found for everybody to see."""

    database: Database
    probes: Mapping[str, Probe | None]
    clock: Clock

    def check(self, worker_id: str, **others: Probe | None) -> dict[str, Any]:
        """Ask everything, ``others`` too.

        Returns ``{status: "healthy"|"degraded", timestamp, worker_id, checks}``.
        """
        checks = {name: _ask(name, probe) for name, probe in {**self.probes, **others}.items()}
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
        """The latest check of any worker.

        Raises:
            DatabaseError: the database cannot be asked.
        """
        with self.database.transaction() as tx:
            return store.latest(tx)


def _ask(name: str, probe: Probe | None) -> str:
    if probe is None:
        return OFF
    try:
        probe()
    except (WorkerError, RedisError) as failed:
        # The text of the error may name hosts and users: it is for the log only.
        log.warning("probe_failed", dependency=name, why=str(failed))
        return f"failed: {type(failed).__name__}"
    return OK
