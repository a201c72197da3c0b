"""What the agent has said: stored before anything else happens, so that it is paid for once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, insert, select

from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop.mailbox import Mail
from mirt.store.tables import conversations, history, inbox, turns


@dataclass(frozen=True, slots=True)
class Reply:
    """What is said to the customer in a turn, what it has cost, and what is to be done.

    ``actions`` is the record of what the agent wanted; ``agent_tasks`` are its tasks, known only to
    who has just asked: they are rows of their own.
    """

    text: str
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    actions: Sequence[Mapping[str, Any]] = ()
    agent_tasks: Sequence[TaskMessage] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """One line of a conversation: who (``user`` or ``assistant``) and what."""

    role: Literal["user", "assistant"]
    content: str


def find_reply(tx: Connection, turn_id: str) -> Reply | None:
    """The reply of a turn, if the agent has answered."""
    row = tx.execute(
        select(
            turns.c.reply, turns.c.model, turns.c.prompt_tokens, turns.c.completion_tokens
        ).where(turns.c.id == turn_id)
    ).one_or_none()
    return None if row is None else Reply(*row)


def reply_to(tx: Connection, task_id: str) -> tuple[str, Reply] | None:
    """The turn that has answered a message, its own or another's, and what was said in it."""
    turn_id = tx.execute(select(inbox.c.turn_id).where(inbox.c.task_id == task_id)).scalar()
    reply = find_reply(tx, turn_id) if turn_id else None
    return (turn_id, reply) if turn_id and reply else None


def store_reply(
    tx: Connection,
    mail: Mail,
    reply: Reply,
    *,
    heard: Sequence[tuple[str, datetime]],
    now: datetime,
) -> None:
    """Write the reply of the turn and, with what was heard and when, the history."""
    tx.execute(
        insert(turns).values(
            id=mail.task_id,
            session_id=mail.session_id,
            reply=reply.text,
            model=reply.model,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            actions=list(reply.actions),
            answered_at=now,
        )
    )
    if not heard:
        return
    lines = [("user", text, at) for text, at in heard]
    tx.execute(
        insert(history),
        [
            {
                "session_id": mail.session_id,
                "role": role,
                "content": content,
                "turn_id": mail.task_id,
                "created_at": at,
            }
            for role, content, at in [*lines, ("assistant", reply.text, now)]
        ],
    )


def recall(tx: Connection, session_id: str, *, limit: int) -> tuple[str | None, list[Said]]:
    """The summary of the conversation, and its last ``limit`` lines, the oldest first."""
    known = tx.execute(
        select(conversations.c.summary, conversations.c.restarted_after).where(
            conversations.c.session_id == session_id
        )
    ).one_or_none()
    if known is None:
        return None, []
    rows = tx.execute(
        select(history.c.role, history.c.content)
        .where(history.c.session_id == session_id, history.c.id > known.restarted_after)
        .order_by(history.c.id.desc())
        .limit(limit)
    )
    return known.summary, [Said(*row) for row in reversed(rows.all())]
