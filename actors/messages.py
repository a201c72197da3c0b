"""Answers messages and delivers replies."""

from typing import Any

from broker.task import publish_and_return, task
from middleware.execution import current_lease
from mirt.channels import InboundMessage, Marks
from mirt.runtime import current_runtime
from mirt.store.shop.deliveries import Delivery
from mirt.task_names import TaskName


@task
def process_message(
    session_id: str,
    user_message: str,
    user_id: str | None = None,
    platform: str = "telegram",
    chat_id: str | None = None,
    message_id: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Answer a message for a caller that waits for the result; no reply is delivered.

    Returns ``{status: "success", session_id, response, response_length, platform, chat_id}``.
    """
    message = InboundMessage(
        session_id, user_message, platform, chat_id, user_id, message_id, metadata or {}
    )
    return _answer(TaskName.PROCESS_MESSAGE, message)


@task
def process_and_respond(
    session_id: str,
    user_message: str,
    platform: str,
    chat_id: str,
    user_id: str | None = None,
    message_id: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Answer a message and deliver the reply.

    Returns what ``process_message`` returns, and ``delivery``.
    """
    message = InboundMessage(
        session_id, user_message, platform, chat_id, user_id, message_id, metadata or {}
    )
    return _answer(TaskName.PROCESS_AND_RESPOND, message)


@task
def send_response(
    platform: str, chat_id: str, response_text: str, reply_to_message_id: str | None = None
) -> dict[str, Any]:
    """Deliver a given text.

    Returns ``{status: "sent", platform, chat_id, parts}``.
    """
    lease = current_lease()
    delivery = Delivery(
        id=lease.task_id,
        session_id=chat_id,
        platform=platform,
        chat_id=chat_id,
        text=response_text,
        reply_to=reply_to_message_id,
        trace_id=lease.trace_id,
    )
    return publish_and_return(current_runtime().turns.send_text(lease, delivery))


@task
def send_delay_notice(session_id: str, platform: str, chat_id: str, message: str) -> dict[str, Any]:
    """Tell a customer that the answer to a message takes longer, if it has none yet.

    Returns ``{status: "sent", session_id}``, or ``{status: "skipped", session_id, reason}``.
    """
    return current_runtime().delay_notices.send(
        current_lease(), session_id, message, platform=platform, chat_id=chat_id
    )


@task
def mark_customer(
    platform: str,
    chat_id: str,
    fields: dict[str, str] | None = None,
    add_tags: list[str] | None = None,
    remove_tags: list[str] | None = None,
) -> dict[str, Any]:
    """Set fields and tags of a customer on a platform, as ManyChat has them.

    Returns ``{status: "marked", platform, chat_id}``, or skipped if the platform has no marks.
    """
    marks = Marks(fields or {}, add_tags or (), remove_tags or ())
    return current_runtime().deliveries.mark(current_lease(), platform, chat_id, marks)


def _answer(actor: str, message: InboundMessage) -> dict[str, Any]:
    runtime, lease = current_runtime(), current_lease()
    # A message with a row was validated when it was accepted.
    mail = runtime.turns.mail_of(lease) or runtime.conversations.checked(
        message, task_id=lease.task_id, actor=actor, trace_id=lease.trace_id
    )
    return publish_and_return(runtime.turns.answer(lease, mail))
