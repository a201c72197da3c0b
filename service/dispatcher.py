"""Dispatch messages and tasks from Python code: store them, publish them, wait for a result.

``dispatch_message`` returns when the message is stored in the database; from then on it cannot be
lost. Publishing to RabbitMQ is the fast path only: the outbox publishes later what RabbitMQ did
not accept.

    dispatch_message("telegram_7", "Hello", chat_id="7", message_id="5", fire_and_forget=True)
"""

import time
import uuid
from collections.abc import Awaitable, Callable
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
from mirt.conversations import LONGEST_ID, Accepted, as_task
from mirt.errors import ErrorCode, PermanentError, RetryableError
from mirt.idempotency import message_task_id
from mirt.observe import traces
from mirt.observe.texts import loggable
from mirt.orders import read_order
from mirt.runtime import Runtime, current_runtime
from mirt.store.engine.redis_client import BestEffort
from mirt.store.queue.dead_letters import find_dead
from mirt.store.shop.mailbox import Mail
from mirt.task_names import TaskName

log = structlog.get_logger(__name__)

REDIS_POLL_S: Final = 0.05
DATABASE_POLL_S: Final = 1.0
"""Seconds between two look-ups of a result."""


Dispatch = Callable[..., dict[str, Any]]
"""A function with the signature and promises of ``dispatch_message``."""


class ResultTimeoutError(RetryableError):
    """No result within RESULT_TIMEOUT seconds. The message is stored and will still be answered."""


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
    """Store a customer's message and have it answered in the order of its conversation.

    With ``fire_and_forget`` the reply is delivered to ``chat_id``. Without it, the reply is the
    result of the task; ``wait`` waits up to RESULT_TIMEOUT seconds for it.

    Returns:
        ``{"queued": True, "task_id", "trace_id", "mode", "duplicate"}``, with ``wait`` also
        ``"result"``. With TASKS_ENABLED=false ``{"queued": False, "response", "trace_id"}``.

    Raises:
        PermanentError: EMPTY_MESSAGE or INVALID_INPUT, and nothing was stored; or the task failed
            for good, with ``wait`` or with TASKS_ENABLED=false.
        DatabaseError: the message could not be stored.
        ResultTimeoutError: with ``wait``, no result within RESULT_TIMEOUT seconds.
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
    actor = TaskName.PROCESS_AND_RESPOND if fire_and_forget else TaskName.PROCESS_MESSAGE
    with traces.start_or_join("dispatch_message") as span_context:
        return _accept(message, actor, span_context.trace_id, wait=wait)


def accepting(
    runtime: Runtime, store: Callable[[Mail], Awaitable[Accepted]]
) -> Callable[[InboundMessage], Awaitable[bool]]:
    """Return a function for the event loop that stores a message whose reply the customer gets.

    It validates as ``dispatch_message`` does, has ``store`` store and publish the mail, and returns
    whether the message was stored before. Raises as ``dispatch_message`` and ``store``.
    """

    async def accept(message: InboundMessage) -> bool:
        with traces.start_or_join("dispatch_message") as span_context:
            mail = _mail(runtime, message, TaskName.PROCESS_AND_RESPOND, span_context.trace_id)
            accepted = await store(mail)
            _log_accepted(mail, accepted, "fire_and_forget")
        return accepted.duplicate

    return accept


def _mail(runtime: Runtime, message: InboundMessage, actor: TaskName, trace_id: str) -> Mail:
    task_id = message_task_id(
        message.platform, message.session_id, message.user_id, message.message_id
    )
    return runtime.conversations.checked(message, task_id=task_id, actor=actor, trace_id=trace_id)


def _accept(
    message: InboundMessage, actor: TaskName, trace_id: str, *, wait: bool
) -> dict[str, Any]:
    runtime = current_runtime()
    mail = _mail(runtime, message, actor, trace_id)
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
    _log_accepted(mail, accepted, str(answer["mode"]))
    if accepted.publication is not None:
        registry.broker.publish([accepted.publication])
    if wait:
        answer["result"] = _wait_for_result(runtime, mail)
    return answer


def _log_accepted(mail: Mail, accepted: Accepted, mode: str) -> None:
    log.info(
        "message_accepted",
        task=mail.actor,
        session_id=accepted.session_id,
        queued=True,
        task_id=accepted.task_id,
        trace_id=mail.trace_id,
        mode=mode,
        duplicate=accepted.duplicate,
        **loggable(mail.text),
    )


def dispatch_summarization(session_id: str, user_id: str | None = None) -> dict[str, Any]:
    """Store and publish a task that summarises a conversation.

    Returns:
        ``{"queued": True, "task_id"}``. With TASKS_ENABLED=false ``{"queued": False}`` and the
        fields of the task's result.

    Raises:
        PermanentError: INVALID_INPUT, and nothing was stored. With TASKS_ENABLED=false also the
            error of the task that failed.
        DatabaseError: the task could not be stored.
    """
    _check(session_id=session_id, user_id=user_id)
    return _dispatch(summarize_session, {"session_id": session_id, "user_id": user_id})


def dispatch_followup(
    session_id: str, channel: str = "telegram", chat_id: str | int | None = None
) -> dict[str, Any]:
    """Send the next follow-up of a conversation now; as ``dispatch_summarization``."""
    chat = _as_text(chat_id)
    _check(session_id=session_id, chat_id=chat)
    _check_channel(channel)
    return _dispatch(send_followup, {"session_id": session_id, "channel": channel, "chat_id": chat})


def dispatch_crm_order(order_data: dict[str, Any]) -> dict[str, Any]:
    """Create an order in the CRM; returns and raises as ``dispatch_summarization``.

    A wrong order is refused here: INVALID_INPUT names every wrong field. The task gets the order
    as it was parsed. Prices may be decimals; fields that do not belong to an order are dropped.
    """
    order = read_order(order_data)
    arguments = {"order_data": order.model_dump(mode="json")}
    return _dispatch(create_crm_order, arguments, session_id=order.source_id)


def schedule_followup(
    session_id: str, delay_hours: float, channel: str = "telegram", chat_id: str | int | None = None
) -> dict[str, Any]:
    """Send the next follow-up in ``delay_hours``, unless the customer writes before.

    Returns:
        ``{"scheduled": True, "task_id", "delay_hours"}``.

    Raises:
        PermanentError: INVALID_INPUT, and nothing was stored.
        DatabaseError: the follow-up could not be stored.
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
    with traces.start_or_join(f"dispatch {actor.actor_name}") as span_context:
        options |= {"task_id": task_id, **span_context.options}
        message = actor.send_with_options(kwargs=arguments, **options)
    if current_runtime().settings.tasks_enabled:
        return {"queued": True, "task_id": message.message_id}
    return {"queued": False, **_result_of(message)}


def _result_of(message: Message[Any]) -> dict[str, Any]:
    try:
        return dict(registry.broker.get_results_backend().get_result(message))
    except ResultFailure as failed:
        raise _failure(current_runtime(), message.message_id, failed) from None


def _failure(runtime: Runtime, task_id: str, failed: ResultFailure) -> PermanentError:
    """Return the error of a failed task; its dead letter knows the error code."""
    with runtime.database.transaction() as tx:
        dead_letter = find_dead(tx, task_id)
    code = dead_letter.error_code if dead_letter else ErrorCode.UNEXPECTED
    return PermanentError(f"the task has failed: {failed}", code)


def _as_text(value: str | int | None) -> str | None:
    # Callers written for Telegram pass its numeric ids.
    return str(value) if isinstance(value, int) else value


def _check(session_id: str, **others: str | None) -> None:
    ids = {"session_id": session_id, **{k: v for k, v in others.items() if v is not None}}
    errors = [
        f"{name}: must be a text of 1 to {LONGEST_ID} characters"
        for name, value in ids.items()
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID or "\0" in value
    ]
    if errors:
        raise PermanentError("; ".join(errors), ErrorCode.INVALID_INPUT)


def _check_channel(channel: str) -> None:
    known = current_runtime().channels
    if channel not in known:
        raise PermanentError(
            f"channel: must be one of {', '.join(sorted(known))}", ErrorCode.INVALID_INPUT
        )


def _wait_for_result(runtime: Runtime, mail: Mail) -> dict[str, Any]:
    """Poll Redis for the result of a task, and once a second the database.

    The database also has the result when Redis lost it, and when the message was answered together
    with others.

    Raises:
        PermanentError: the task failed for good.
        ResultTimeoutError: no result within RESULT_TIMEOUT seconds.
    """
    backend = registry.broker.get_results_backend()
    message, best_effort = to_message(as_task(mail)), BestEffort("waiting for a result")
    deadline = time.monotonic() + runtime.settings.result_timeout
    next_database_poll = 0.0
    while time.monotonic() < deadline:
        try:
            found = best_effort(lambda: backend.get_result(message), default=None)
        except ResultMissing:
            found = None
        except ResultFailure as failed:
            raise _failure(runtime, mail.task_id, failed) from None
        if found is None and time.monotonic() >= next_database_poll:
            found = runtime.turns.result_of(mail)
            next_database_poll = time.monotonic() + DATABASE_POLL_S
        if found is not None:
            return dict(found)
        time.sleep(REDIS_POLL_S)
    raise ResultTimeoutError(
        f"no result of {mail.task_id} after {runtime.settings.result_timeout} s (RESULT_TIMEOUT); "
        "the message is kept and will be answered"
    )
