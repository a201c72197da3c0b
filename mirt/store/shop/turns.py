"""Store and read the replies of turns and the history.

The reply is stored before anything else happens, so that a completion is paid for once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, insert, select

from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop.mailbox import Mail
from mirt.store.shop.orders import NewOrder
from mirt.store.tables import history, inbox, turns


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply of a turn, its cost in tokens, and the actions of the LLM.

    ``actions`` records the actions that the LLM asked for. ``agent_tasks`` are their tasks, and
    ``to_approve`` its orders that wait for a person. Both have rows of their own, so a reply that
    is read from the database has none. ``asks_for_person`` is the reason of an agent that hands the
    conversation over.
    """

    text: str
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    actions: Sequence[Mapping[str, Any]] = ()
    agent_tasks: Sequence[TaskMessage] = ()
    to_approve: Sequence[NewOrder] = ()
    asks_for_person: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """One line of the history: the role of its author, the text, and the actions of a reply.

    ``said_by`` is the person who wrote the line instead of the bot.
    """

    role: Literal["user", "assistant"]
    content: str
    actions: Sequence[Mapping[str, Any]] = ()
    said_by: str | None = None


@dataclass(frozen=True, slots=True)
class Recalled:
    """A conversation as the agent gets it: summary and last lines; with the tokens it has cost."""

    summary: str | None = None
    lines: Sequence[Said] = ()
    tokens: int = 0


def find_reply(tx: Connection, turn_id: str) -> Reply | None:
    """Return the reply of a turn; None if the LLM has not answered yet."""
    row = tx.execute(
        select(
            turns.c.reply, turns.c.model, turns.c.prompt_tokens, turns.c.completion_tokens
        ).where(turns.c.id == turn_id)
    ).one_or_none()
    return None if row is None else Reply(*row)


def reply_to(tx: Connection, task_id: str) -> tuple[str, Reply] | None:
    """Return the id and the reply of the turn that answered the mail of this task, or None.

    It may be the turn of other mail that was answered together with this.
    """
    turn_id = tx.execute(select(inbox.c.turn_id).where(inbox.c.task_id == task_id)).scalar()
    reply = find_reply(tx, turn_id) if turn_id else None
    return (turn_id, reply) if turn_id and reply else None


def count_orders(tx: Connection, session_id: str, *, since: datetime) -> int:
    """Return the number of different orders that the LLM asked for in this conversation."""
    found = tx.execute(
        select(turns.c.actions).where(turns.c.session_id == session_id, turns.c.answered_at > since)
    ).scalars()
    # An entry of a version without names of orders counts by its items.
    names = {
        str(action.get("order") or items)
        for actions in found
        for action in actions
        if (items := action.get("items"))
    }
    return len(names)


def store_reply(
    tx: Connection,
    mail: Mail,
    reply: Reply,
    *,
    heard: Sequence[tuple[str, datetime]],
    now: datetime,
) -> None:
    """Store the reply of the turn, and add it to the history after the mail in ``heard``.

    ``heard`` has text and time of each mail. If it is empty, the history does not change.
    """
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
