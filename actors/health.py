"""Whether anybody is there."""

from typing import Any

from broker.task import task
from middleware.execution import current_claim
from mirt.runtime import runtime


@task()
def ping() -> dict[str, Any]:
    """Answer. Returns ``{pong: true, timestamp, task_id, worker_id}``, the time in ISO 8601."""
    claim = current_claim()
    return {
        "pong": True,
        "timestamp": runtime().clock().isoformat(),
        "task_id": claim.task_id,
        "worker_id": claim.owner,
    }
