"""Accept many messages in one transaction: all that a batch needs is one statement.

Each message enters its mailbox once. An idle conversation gets its first new message as the head,
whose task enters the outbox. Everything else waits behind the head, or for the person who has the
conversation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Boolean, Connection, Integer, String, bindparam, column, text

from mirt.store.engine.statements import Statement, fetch_and_commit
from mirt.store.queue.outbox import REPUBLISH_AFTER
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop.mailbox import Mail, customer_name
from mirt.store.tables.columns import Json, UtcDateTime

# Copies within the batch are removed first: PostgreSQL updates no row twice in one statement.
# Rows are inserted in the order of their conversations, so two batches cannot block each other;
# the collation "C" is the order in which Python sorts them, which all others lock them in;
# and within a conversation in the order of arrival, which their ids keep. A new message without an
# active conversation has met one of another platform, begun at this very moment: the division by
# zero undoes the batch.
_SQL: Final = """
WITH given AS (
    SELECT DISTINCT ON (m.task_id) m.*
    FROM jsonb_to_recordset(:p_mails) AS m(
        n int, task_id text, session_id text, actor text, "text" text, platform text,
        chat_id text, user_id text, message_id text, metadata jsonb, trace_id text,
        trace_context jsonb, customer_name text, kwargs jsonb, options jsonb)
    LEFT JOIN conversations c ON c.session_id = m.session_id
    WHERE c.platform IS NULL OR c.platform = m.platform
    ORDER BY m.task_id, m.n
), kept AS (
    INSERT INTO inbox (task_id, session_id, actor, "text", platform, chat_id, user_id, message_id,
                       metadata, trace_id, trace_context, state, received_at)
    SELECT task_id, session_id, actor, "text", platform, chat_id, user_id, message_id, metadata,
           trace_id, trace_context, 'waiting', :p_at
    FROM given ORDER BY session_id, n
    ON CONFLICT (task_id) DO NOTHING
    RETURNING id, task_id, session_id
), firsts AS (
    SELECT DISTINCT ON (session_id) session_id, task_id FROM kept ORDER BY session_id, id
), lasts AS (
    SELECT DISTINCT ON (k.session_id) k.session_id, g.platform, g.chat_id, g.user_id,
           g.customer_name
    FROM kept k JOIN given g USING (task_id) ORDER BY k.session_id, k.id DESC
), active AS (
    INSERT INTO conversations AS c (session_id, platform, chat_id, user_id, customer_name,
        last_customer_at, followups_taken, summary_awaited, created_at, head_task_id)
    SELECT l.session_id, l.platform, l.chat_id, l.user_id, l.customer_name,
           :p_at, 0, true, :p_at, f.task_id
    FROM lasts l JOIN firsts f USING (session_id) ORDER BY l.session_id COLLATE "C"
    ON CONFLICT (session_id) DO UPDATE SET
        chat_id = coalesce(excluded.chat_id, c.chat_id),
        user_id = coalesce(excluded.user_id, c.user_id),
        customer_name = coalesce(excluded.customer_name, c.customer_name),
        last_customer_at = excluded.last_customer_at, followups_taken = 0, summary_awaited = true,
        unreachable_since = NULL,
        head_task_id = CASE WHEN c.handover_state IS NULL
            THEN coalesce(c.head_task_id, excluded.head_task_id) ELSE c.head_task_id END
    WHERE c.platform = excluded.platform
    RETURNING c.session_id, c.head_task_id
), queued AS (
    INSERT INTO tasks (id, actor, args, kwargs, options, trace_id, session_id, state, due_at,
                       published_at, publications, created_at, waits_since)
    SELECT g.task_id, g.actor, '[]', g.kwargs, g.options, g.trace_id, g.session_id,
           'queued', :p_due, :p_at, 1, :p_at, :p_at
    FROM active a JOIN given g ON g.task_id = a.head_task_id JOIN kept k ON k.task_id = g.task_id
    ON CONFLICT (id) DO NOTHING RETURNING id
)
SELECT g.task_id, k.task_id IS NOT NULL AS is_new, q.id IS NOT NULL AS is_head,
       CASE WHEN k.task_id IS NULL OR a.session_id IS NOT NULL THEN 1
            ELSE 1 / (length(g.task_id) - length(g.task_id)) END AS is_in_place
FROM given g LEFT JOIN kept k ON k.task_id = g.task_id LEFT JOIN queued q ON q.id = g.task_id
     LEFT JOIN active a ON a.session_id = g.session_id
"""
_ACCEPT: Final = Statement(
    lambda _: (
        text(_SQL)
        .bindparams(
            bindparam("p_mails", type_=Json),
            bindparam("p_at", type_=UtcDateTime()),
            bindparam("p_due", type_=UtcDateTime()),
        )
        .columns(
            column("task_id", String()),
            column("is_new", Boolean()),
            column("is_head", Boolean()),
            column("is_in_place", Integer()),
        )
    )
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A message of a batch that was stored, now or before."""

    is_new: bool
    is_head: bool
    """Its task is new in the outbox and has to be published."""


def accept_all(
    tx: Connection, mails: Sequence[tuple[Mail, TaskMessage]], *, now: datetime
) -> dict[str, Entry]:
    """Store messages, each with the task that answers it; return what became of each task id.

    A message whose conversation belongs to another platform is left out. Only for PostgreSQL.

    This is the whole transaction: it is committed in the same round trip.

    Raises:
        StatementError: two platforms have used one conversation id at this very moment; nothing is
            stored.
    """
    rows = fetch_and_commit(
        tx,
        _ACCEPT,
        mails=[_values(n, mail, task) for n, (mail, task) in enumerate(mails)],
        at=now,
        due=now + REPUBLISH_AFTER,
    )
    return {row.task_id: Entry(row.is_new, row.is_head) for row in rows}


def _values(n: int, mail: Mail, task: TaskMessage) -> dict[str, Any]:
    return {
        "n": n,
        "task_id": mail.task_id,
        "session_id": mail.session_id,
        "actor": mail.actor,
        "text": mail.text,
        "platform": mail.platform,
        "chat_id": mail.chat_id,
        "user_id": mail.user_id,
        "message_id": mail.message_id,
        "metadata": dict(mail.metadata),
        "trace_id": mail.trace_id,
        "trace_context": dict(mail.trace_context),
        "customer_name": customer_name(mail),
        "kwargs": dict(task.kwargs),
        "options": dict(task.options),
    }
