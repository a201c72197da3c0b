"""Tells the staff that a person is asked for, and ends a handover that no person attends to."""

from typing import Any

from broker.task import publish_and_return, task
from middleware.execution import current_lease
from mirt.runtime import current_runtime


@task
def tell_staff(session_id: str, reason: str) -> dict[str, Any]:
    """Tell the staff that a customer asks for a person.

    Returns ``{status: "told", session_id, by}``, or ``{status: "skipped", session_id, reason}``.
    """
    return current_runtime().staff.tell(current_lease(), session_id, reason)


@task
def end_handover(session_id: str, since: str) -> dict[str, Any]:
    """Give a conversation back to the bot if no person has done anything for HANDOVER_MINUTES.

    Returns ``{status: "handed_back", session_id}``, or ``{status: "skipped", session_id, reason}``.
    """
    return publish_and_return(current_runtime().handovers.expire(session_id, since))
