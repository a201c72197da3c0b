"""Writes summaries, and queues those that are due."""

from typing import Any

from broker.task import registry, task
from middleware.execution import current_lease
from mirt.runtime import current_runtime


@task
def summarize_session(
    session_id: str,
    user_id: str | None = None,  # noqa: ARG001 - the signature is a contract
) -> dict[str, Any]:
    """Summarize the messages of a conversation since its last summary.

    Returns ``{status: "summarized", session_id, summary_length}``, or ``{status: "skipped",
    session_id, reason}``.
    """
    return current_runtime().summaries.summarise(current_lease(), session_id)


@task
def check_all_sessions_for_summarization() -> dict[str, Any]:
    """Queue a summary of every conversation that is due. Returns ``{status: "ok", queued}``."""
    return {
        "status": "ok",
        "queued": registry.broker.publish_all(current_runtime().summaries.take_due()),
    }
