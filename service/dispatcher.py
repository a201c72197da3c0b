"""The door for our own code: hand a piece of work over, and know what became of it.

``dispatch_message`` answers once the message is kept; from then on it is not lost. Publishing it is
only the fast path: what could not be published is, as soon as RabbitMQ takes it.
"""

import time
import uuid
from typing import Any, Final

import structlog
from dramatiq.results import ResultFailure, ResultMissing

import actors  # noqa: F401 - declares the tasks
from broker.task import declared
from middleware.envelopes import to_message
from mirt.channels import InboundMessage
from mirt.conversations import ANSWERING, DELIVERING, as_task
from mirt.errors import PermanentError, RetryableError
from mirt.idempotency import webhook_task_id
from mirt.runtime import Runtime, runtime
from mirt.store.mailbox import Mail
from mirt.store.redis import BestEffort

log = structlog.get_logger(__name__)

LOOK_INTO_REDIS_S: Final = 0.05
LOOK_INTO_DATABASE_S: Final = 1.0


class ResultTimeoutError(RetryableError):
    """The result is not there in time. The message is kept and will be answered all the same."""


def dispatch_message(
    session_id: str,
    user_message: str,
    platform: str = "telegram",
    chat_id: str | None = None,
    user_id: str | None = None,
    message_id: str | None = None,
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
    world = runtime()
    trace_id = structlog.contextvars.get_contextvars().get("trace_id") or uuid.uuid4().hex
    message = InboundMessage(
        session_id, user_message, platform, chat_id, user_id, message_id, metadata or {}
    )
    mail = world.conversations.checked(
        message,
        # A message id is unique within a chat only, so the session takes part in the identity.
        task_id=webhook_task_id(platform, message_id, f"{session_id}/{user_id or ''}", "process"),
        actor=DELIVERING if fire_and_forget else ANSWERING,
        trace_id=trace_id,
    )
    if not world.settings.tasks_enabled:
        response = world.direct.answer(mail)["response"]
        return {"queued": False, "response": response, "trace_id": trace_id}
    accepted = world.conversations.accept(mail)
    if accepted.publication is not None:
        declared.bound.publish([accepted.publication])
    answer = {
        "queued": True,
        "task_id": accepted.task_id,
        "trace_id": trace_id,
        "mode": "fire_and_forget" if fire_and_forget else "async",
        "duplicate": accepted.duplicate,
    }
    log.info("dispatched", **answer)
    if wait:
        answer["result"] = _result(world, mail)
    return answer


def _result(world: Runtime, mail: Mail) -> dict[str, Any]:
    """Wait for the result of a task: in Redis, and now and then in the database.

    The database knows it too when Redis has lost it, and when the message was answered together
    with others.
    """
    backend = declared.bound.get_results_backend()
    message, best_effort = to_message(as_task(mail)), BestEffort("waiting for a result")
    deadline = time.monotonic() + world.settings.result_timeout
    look_again = 0.0
    while time.monotonic() < deadline:
        try:
            found = best_effort(lambda: backend.get_result(message), default=None)
        except ResultMissing:
            found = None
        except ResultFailure as failed:
            raise PermanentError(f"the task has failed: {failed}", failed.orig_exc_type) from None
        if found is None and time.monotonic() >= look_again:
            found = world.turns.result_of(mail)
            look_again = time.monotonic() + LOOK_INTO_DATABASE_S
        if found is not None:
            return dict(found)
        time.sleep(LOOK_INTO_REDIS_S)
    raise ResultTimeoutError(
        f"no result of {mail.task_id} after {world.settings.result_timeout} s (RESULT_TIMEOUT); "
        "the message is kept and will be answered"
    )
