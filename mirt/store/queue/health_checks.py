"""Store and read the latest health check of each worker."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, select

from mirt.store.engine.database import upsert
from mirt.store.tables import health_checks

KEPT: Final = timedelta(hours=1)
"""Age at which the check of a worker is deleted."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The health check of one worker: ``ok``, ``off`` or the error for each dependency."""

    worker_id: str
    status: str
    checks: dict[str, str]
    checked_at: datetime


def report(tx: Connection, check: HealthCheck) -> None:
    """Store the check of a worker in place of its last one; delete checks older than ``KEPT``."""
    found: dict[str, Any] = {
        "status": check.status,
        "checks": check.checks,
        "checked_at": check.checked_at,
    }
    tx.execute(delete(health_checks).where(health_checks.c.checked_at < check.checked_at - KEPT))
    tx.execute(
        upsert(tx, health_checks)
        .values(worker_id=check.worker_id, **found)
        .on_conflict_do_update(index_elements=[health_checks.c.worker_id], set_=found)
    )


def latest(tx: Connection) -> HealthCheck | None:
    """Return the latest check of any worker; None if there is none."""
    row = tx.execute(
        select(health_checks).order_by(health_checks.c.checked_at.desc()).limit(1)
    ).one_or_none()
    return None if row is None else HealthCheck(**row._mapping)


def checks_of_workers(
    tx: Connection, *, since: datetime
) -> Iterator[tuple[str, dict[str, str], datetime]]:
    """Yield worker id, checks and time of each check that is not older than ``since``."""
    rows = tx.execute(
        select(health_checks.c.worker_id, health_checks.c.checks, health_checks.c.checked_at).where(
            health_checks.c.checked_at >= since
        )
    )
    yield from ((worker, checks, at) for worker, checks, at in rows)
