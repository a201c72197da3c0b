"""Sends and schedules follow-ups, queues those that are due, and turns them off and on."""

from typing import Any

from broker.task import registry, task
from middleware.execution import current_lease
from mirt.runtime import current_runtime


@task
def send_followup(
    session_id: str, channel: str = "telegram", chat_id: str | None = None
) -> dict[str, Any]:
    """Send the next follow-up of a conversation, if it is still wanted.

    Returns ``{status: "sent", session_id, content, tags, channel}``, or ``{status: "skipped",
    session_id, reason}``.
    """
    return current_runtime().followups.send(
        current_lease(), session_id, channel=channel, chat_id=chat_id
    )


@task
def schedule_followup(
    session_id: str, delay_hours: float, channel: str = "telegram", chat_id: str | None = None
) -> dict[str, Any]:
    """Queue the next follow-up for later; the customer's next message cancels it.

    Returns ``{status: "scheduled", session_id, task_id, delay_hours}``.
    """
    task_id = f"{current_lease().task_id}:followup"
    current_runtime().followups.schedule(
        task_id, session_id, delay_hours, channel=channel, chat_id=chat_id
    )
    return {
        "status": "scheduled",
        "session_id": session_id,
        "task_id": task_id,
        "delay_hours": delay_hours,
    }


@task
def set_followups(session_id: str, wanted: bool) -> dict[str, Any]:  # noqa: FBT001 - JSON
    """Store whether the customer wants follow-ups.

    Returns ``{status: "ok", session_id, wanted}``, or ``{status: "skipped", session_id, reason}``.
    """
    return current_runtime().followups.set_wanted(session_id, wanted=wanted)


@task
def check_all_sessions_for_followups() -> dict[str, Any]:
    """Queue every follow-up that is due, once. Returns ``{status: "ok", queued}``."""
    return {
        "status": "ok",
        "queued": registry.broker.publish_all(current_runtime().followups.take_due()),
    }
