"""Answers a ping, checks the dependencies of a worker, and asks whether messages can arrive."""

from typing import Any

from broker.task import registry, task
from middleware.execution import current_lease
from mirt.runtime import current_runtime


@task
def ping() -> dict[str, Any]:
    """Answer a ping. Returns ``{pong: true, timestamp, task_id, worker_id}``, time in ISO 8601."""
    lease = current_lease()
    return {
        "pong": True,
        "timestamp": current_runtime().clock().isoformat(),
        "task_id": lease.task_id,
        "worker_id": lease.owner,
    }


@task
def worker_health_check() -> dict[str, Any]:
    """Check every dependency, and store the results for ``/readyz``.

    Returns ``{status: "healthy"|"degraded", timestamp, worker_id, checks: {redis, database,
    rabbitmq}}``; a check is ``ok``, ``off`` if it is not configured, or the error.
    """
    return current_runtime().health.check(current_lease().owner, rabbitmq=registry.broker.probe)


@task
def check_webhooks() -> dict[str, Any]:
    """Ask the platforms about our webhooks, for the page and the metrics.

    Returns ``{status: "ok", checked}``, with the number of platforms that can be asked.
    """
    return current_runtime().webhooks.check()
