"""The door for our own code: hand a piece of work over, and know what became of it.

``dispatch_message`` answers once the message is kept; from then on it is not lost. Publishing it is
only the fast path: what could not be published is, as soon as RabbitMQ takes it.
"""

import time
import uuid
from typing import Any, Final

import structlog
from dramatiq import Actor, Message
from dramatiq.results import ResultFailure, ResultMissing

from actors.crm import create_crm_order
from actors.followups import send_followup
from actors.summarization import summarize_session
from broker.task import publish_and_return, registry
from middleware.envelopes import to_message
from middleware.policy import TASKS
from mirt.channels import InboundMessage
from mirt.conversations import LONGEST_ID, as_task
from mirt.errors import ErrorCode, PermanentError, RetryableError
from mirt.idempotency import webhook_task_id
from mirt.observe import traces
from mirt.orders import read_order
from mirt.runtime import Runtime, current_runtime
from mirt.store.engine.redis_client import BestEffort
from mirt.store.shop.mailbox import Mail
from mirt.task_names import TaskName
from service.admin import dead_letters

log = structlog.get_logger(__name__)

LOOK_INTO_REDIS_S: Final = 0.05
LOOK_INTO_DATABASE_S: Final = 1.0


class ResultTimeoutError(RetryableError):
    """The result is not there in time. The message is kept and will be answered all the same."""


def dispatch_message(
    session_id: str,
    user_message: str,
    platform: str = "telegram",
    chat_id: str | int | None = None,
    user_id: str | int | None = None,
    message_id: str | int | None = None,
    metadata: dict[str, Any] | None = None,
    fire_and_forget: bool = False,  # noqa: FBT001 - the signature is a contract
    wait: bool = False,  # noqa: FBT001
) -> dict[str, Any]:
    """Have a message answered, in the order of its conversation.

    With ``fire_and_forget`` the reply is delivered to ``chat_id``; without, it is the result of the
    task, for which ``wait`` waits up to RESULT_TIMEOUT seconds.

    Returns:
        ``{"queued": True, "task_id", "trace_id", "mode", "duplicate"}``, with ``wait`` also
        ``"result"``; when tasks are not enabled ``{"queued": False, "response", "trace_id"}``.

    Raises:
        PermanentError: EMPTY_MESSAGE or INVALID_INPUT; nothing was kept.
        DatabaseError: it could not be kept.
        ResultTimeoutError: with ``wait``, when there is no result in time.
    """
    message = InboundMessage(
        session_id,
        user_message,
        platform,
        _as_text(chat_id),
        _as_text(user_id),
        _as_text(message_id),
        metadata or {},
    )
    # A message id is unique within a chat only, so the session takes part in the identity.
    task_id = webhook_task_id(platform, message_id, f"{session_id}/{user_id or ''}", "process")
    actor = TaskName.PROCESS_AND_RESPOND if fire_and_forget else TaskName.PROCESS_MESSAGE
    with traces.start_or_join("dispatch_message") as place:
        return _accept(message, task_id, actor, place.trace_id, wait=wait)


def _accept(
    message: InboundMessage, task_id: str, actor: str, trace_id: str, *, wait: bool
) -> dict[str, Any]:
    runtime = current_runtime()
    mail = runtime.conversations.checked(message, task_id=task_id, actor=actor, trace_id=trace_id)
    if not runtime.settings.tasks_enabled:
        outcome = runtime.direct.answer(mail, queue_of=lambda task: TASKS[task].queue)
        response = publish_and_return(outcome)["response"]
        return {"queued": False, "response": response, "trace_id": trace_id}
    accepted = runtime.conversations.accept(mail)
    answer = {
        "queued": True,
        "task_id": accepted.task_id,
        "trace_id": trace_id,
        "mode": "fire_and_forget" if actor == TaskName.PROCESS_AND_RESPOND else "async",
        "duplicate": accepted.duplicate,
    }
    log.info("message_accepted", task=actor, session_id=accepted.session_id, **answer)
    if accepted.publication is not None:
        registry.broker.publish([accepted.publication])
    if wait:
        answer["result"] = _result(runtime, mail)
    return answer


def dispatch_summarization(session_id: str, user_id: str | None = None) -> dict[str, Any]:
    """Have a conversation summed up.

    Returns:
        ``{"queued": True, "task_id"}``; when tasks are not enabled ``{"queued": False}`` and what
        the task returns.

    Raises:
        PermanentError: INVALID_INPUT; nothing was kept. When tasks are not enabled also what the
            task has failed with.
        DatabaseError: it could not be kept.
    """
    _check(session_id=session_id, user_id=user_id)
    return _dispatch(summarize_session, {"session_id": session_id, "user_id": user_id})


def dispatch_followup(
    session_id: str, channel: str = "telegram", chat_id: str | int | None = None
) -> dict[str, Any]:
    """Have the next follow-up of a conversation sent now. Returns and raises as above."""
    chat = _as_text(chat_id)
    _check(session_id=session_id, chat_id=chat)
    _check_channel(channel)
    return _dispatch(send_followup, {"session_id": session_id, "channel": channel, "chat_id": chat})


def dispatch_crm_order(order_data: dict[str, Any]) -> dict[str, Any]:
    """Have an order created in the CRM. Returns and raises as above.

    A wrong order is refused here, with INVALID_INPUT naming every wrong field. What travels is the
    order as it was understood: prices may be decimals, and what is no part of an order stays here.
    """
    order = read_order(order_data)
    arguments = {"order_data": order.model_dump(mode="json")}
    return _dispatch(create_crm_order, arguments, session_id=order.source_id)


def schedule_followup(
    session_id: str, delay_hours: float, channel: str = "telegram", chat_id: str | int | None = None
) -> dict[str, Any]:
    """Have the next follow-up sent in ``delay_hours``; the customer's next message cancels it.

    Returns:
        ``{"scheduled": True, "task_id", "delay_hours"}``.

    Raises:
        PermanentError: INVALID_INPUT; nothing was kept.
        DatabaseError: it could not be kept.
    """
    chat = _as_text(chat_id)
    _check(session_id=session_id, chat_id=chat)
    _check_channel(channel)
    task_id = f"followup:{uuid.uuid4().hex}"
    current_runtime().followups.schedule(
        task_id, session_id, delay_hours, channel=channel, chat_id=chat
    )
    return {"scheduled": True, "task_id": task_id, "delay_hours": delay_hours}


def _dispatch(actor: Actor[Any, Any], arguments: dict[str, Any], **options: Any) -> dict[str, Any]:
    task_id = f"{actor.actor_name}:{uuid.uuid4().hex}"
    with traces.start_or_join(f"dispatch {actor.actor_name}") as place:
        options |= {"task_id": task_id, **place.options}
        message = actor.send_with_options(kwargs=arguments, **options)
    if current_runtime().settings.tasks_enabled:
        return {"queued": True, "task_id": message.message_id}
    return {"queued": False, **_outcome(message)}


def _outcome(message: Message[Any]) -> dict[str, Any]:
    try:
        return dict(registry.broker.get_results_backend().get_result(message))
    except ResultFailure as failed:
        raise _failure(current_runtime(), message.message_id, failed) from None


def _failure(runtime: Runtime, task_id: str, failed: ResultFailure) -> PermanentError:
    """What a task has failed with; its code is known to its dead letter."""
    letter = dead_letters.show(runtime, task_id)
    code = letter.error_code if letter else ErrorCode.UNEXPECTED
    return PermanentError(f"the task has failed: {failed}", code)


def _as_text(name: str | int | None) -> str | None:
    # Telegram's ids are numbers, and so they come from code that was written for it.
    return str(name) if isinstance(name, int) else name


def _check(session_id: str, **others: str | None) -> None:
    named = {"session_id": session_id, **{k: v for k, v in others.items() if v is not None}}
    problems = [
        f"{name}: must be a text of 1 to {LONGEST_ID} characters"
        for name, value in named.items()
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID or "\0" in value
    ]
    if problems:
        raise PermanentError("; ".join(problems), ErrorCode.INVALID_INPUT)


def _check_channel(channel: str) -> None:
    known = current_runtime().channels
    if channel not in known:
        raise PermanentError(
            f"channel: must be one of {', '.join(sorted(known))}", ErrorCode.INVALID_INPUT
        )


def _result(runtime: Runtime, mail: Mail) -> dict[str, Any]:
    """Wait for the result of a task: in Redis, and now and then in the database.

    The database knows it too when Redis has lost it, and when the message was answered together
    with others.
    """
    backend = registry.broker.get_results_backend()
    message, best_effort = to_message(as_task(mail)), BestEffort("waiting for a result")
    deadline = time.monotonic() + runtime.settings.result_timeout
    look_again = 0.0
    while time.monotonic() < deadline:
        try:
            found = best_effort(lambda: backend.get_result(message), default=None)
        except ResultMissing:
            found = None
        except ResultFailure as failed:
            raise _failure(runtime, mail.task_id, failed) from None
        if found is None and time.monotonic() >= look_again:
            found = runtime.turns.result_of(mail)
            look_again = time.monotonic() + LOOK_INTO_DATABASE_S
        if found is not None:
            return dict(found)
        time.sleep(LOOK_INTO_REDIS_S)
    raise ResultTimeoutError(
        f"no result of {mail.task_id} after {runtime.settings.result_timeout} s (RESULT_TIMEOUT); "
        "the message is kept and will be answered"
    )
