"""Creates orders in the CRM and reads their status."""

from typing import Any

from broker.task import task
from middleware.execution import current_lease
from mirt.runtime import current_runtime


@task
def create_crm_order(order_data: dict[str, Any]) -> dict[str, Any]:
    """Create an order in the CRM, once for each ``external_id``.

    Returns ``{status: "created", order_id, external_id}``.
    """
    return current_runtime().orders.create(current_lease(), order_data)


@task
def sync_order_status(order_id: str, session_id: str) -> dict[str, Any]:
    """Read the status of an order from the CRM, and store it with the conversation.

    Returns ``{status: "synced", order_id, order_status, session_id}``.
    """
    return current_runtime().orders.sync(current_lease(), order_id, session_id)


@task
def sync_open_orders() -> dict[str, Any]:
    """Read the status of the orders that may still change from the CRM.

    Returns ``{status: "ok", read, changed}``.
    """
    return {"status": "ok", **current_runtime().orders.sync_open()}
