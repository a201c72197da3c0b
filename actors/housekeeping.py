"""What keeps the house: the sweep of stranded mailboxes, and the end of what is old."""

from typing import Any

from broker.task import registry, task
from mirt.runtime import current_runtime


@task
def sweep_mailboxes() -> dict[str, Any]:
    """Give the turn to somebody wherever somebody waits and nobody's turn it is.

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
    """Remove what is over and older than RETENTION_DAYS. Returns ``{status: "ok", removed}``."""
    return {"status": "ok", "removed": current_runtime().housekeeping.remove_old_rows()}
