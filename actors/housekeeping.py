"""Repairs stranded mailboxes and removes old rows."""

from typing import Any

from broker.task import registry, task
from mirt.runtime import current_runtime


@task
def sweep_mailboxes() -> dict[str, Any]:
    """Make a head for each conversation that has waiting mail and no head.

    Returns ``{status: "ok", repaired, published}``.
    """
    repaired = current_runtime().conversations.repair()
    registry.broker.publish(repaired)
    return {
        "status": "ok",
        "repaired": len(repaired),
        "published": registry.broker.publish_due(),
    }


@task
def remove_old_rows() -> dict[str, Any]:
    """Remove ended rows older than RETENTION_DAYS. Returns ``{status: "ok", removed}``."""
    return {"status": "ok", "removed": current_runtime().housekeeping.remove_old_rows()}
