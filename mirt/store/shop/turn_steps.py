"""The statements of one turn, together: what *open* reads, *store* writes and *close* moves.

Each step is one transaction of two round trips: the first verifies the lease, locks and reads, the
second writes and commits. The lock of a conversation is a statement of its own before the reads
that depend on it: a statement that locks and reads would wait for the lock, but read with the
snapshot from before the wait, and miss a message that arrived meanwhile.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, and_, func, null, or_, select, update

from mirt.store.engine.statements import Query, Row, Statement, later, p
from mirt.store.queue import outbox
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop import order_approvals
from mirt.store.shop.deliveries import Delivery, DeliveryState
from mirt.store.shop.handovers import note_withheld
from mirt.store.shop.mailbox import KeptMail, Mail, MailState
from mirt.store.shop.turns import Recalled, Reply, Said
from mirt.store.tables import conversations, deliveries, history, inbox, turns

_c, _i, _t, _h, _d = conversations.c, inbox.c, turns.c, history.c, deliveries.c
Heard = Sequence[tuple[str, datetime]]
"""The texts of a customer, with their times."""
_MAIL: Final = [column for column in inbox.c if column.name != "finished_at"]
_IS_WAITING: Final = _i.state == MailState.WAITING

_LOCK: Final = Statement(
    lambda _: (
        select(_c.head_task_id, _c.handover_state, _c.withheld_turn, _c.replies_waiting)
        .where(_c.session_id == p("session_id", _c.session_id))
        .with_for_update()
    )
)
_LOCK_WITH_COST: Final = Statement(
    lambda _: (
        select(
            _c.head_task_id,
            _c.summary,
            select(func.sum(_t.prompt_tokens + _t.completion_tokens))
            .where(
                _t.session_id == p("session_id", _t.session_id),
                _t.answered_at > p("since", _t.answered_at),
            )
            .scalar_subquery()
            .label("tokens"),
        )
        .where(_c.session_id == p("session_id", _c.session_id))
        .with_for_update(of=conversations)
    )
)
_OWN_MAIL: Final = Statement(lambda _: select(*_MAIL).where(_i.task_id == p("task_id", _i.task_id)))
_ANSWER: Final = Statement(
    lambda _: (
        select(_t.id, _t.reply, _t.model, _t.prompt_tokens, _t.completion_tokens)
        .join(inbox, _i.turn_id == _t.id)
        .where(_i.task_id == p("task_id", _i.task_id))
    )
)
_WAITING_FROM: Final = Statement(
    lambda _: (
        select(*_MAIL)
        .where(
            _i.session_id == p("session_id", _i.session_id),
            _IS_WAITING,
            _i.id >= select(_i.id).where(_i.task_id == p("task_id", _i.task_id)).scalar_subquery(),
        )
        .order_by(_i.id)
        .limit(p("limit", _i.id))
    )
)
_HISTORY: Final = Statement(
    lambda _: (
        select(_h.role, _h.content, _t.actions, _h.said_by)
        .outerjoin(turns, and_(_t.id == _h.turn_id, _h.role == "assistant"))
        .where(
            _h.session_id == p("session_id", _h.session_id),
            _h.id
            > select(_c.restarted_after)
            .where(_c.session_id == p("session_id", _c.session_id))
            .scalar_subquery(),
        )
        .order_by(_h.id.desc())
        .limit(p("limit", _h.id))
    )
)
_ASSIGN: Final = Statement(
    lambda _: (
        update(inbox)
        .where(_i.session_id == p("session", _i.session_id), _IS_WAITING)
        .where(_i.id >= p("first", _i.id), _i.id <= p("last", _i.id))
        .values(turn_id=p("turn", _i.turn_id))
    )
)


@dataclass(frozen=True, slots=True)
class Opening:
    """A conversation as a turn finds it, locked.

    ``mail`` is the message that the turn belongs to, None if it has no row. ``answered`` is the
    turn that has answered it, with its reply. ``waiting`` begins with ``mail``.
    """

    head: str | None
    mail: KeptMail | None
    answered: tuple[str, Reply] | None
    waiting: list[KeptMail]
    known: Recalled


def opening_reads(
    task_id: str, session_id: str, *, mails: int, lines: int, cost_since: datetime
) -> list[Query]:
    """Return the queries that lock a conversation and read what its turn needs.

    At most ``mails`` waiting messages, the last ``lines`` of the history, and the tokens that the
    conversation has cost since ``cost_since``.
    """
    return [
        (_LOCK_WITH_COST, {"session_id": session_id, "since": cost_since}),
        (_OWN_MAIL, {"task_id": task_id}),
        (_ANSWER, {"task_id": task_id}),
        (_WAITING_FROM, {"session_id": session_id, "task_id": task_id, "limit": mails}),
        (_HISTORY, {"session_id": session_id, "limit": lines}),
    ]


def read_opening(found: Sequence[Sequence[Row]]) -> Opening:
    """Return what the queries of ``opening_reads`` have found."""
    locked, own, answer, waiting, lines = found
    return Opening(
        head=locked[0].head_task_id if locked else None,
        mail=_kept(own[0]) if own else None,
        answered=(answer[0][0], Reply(*answer[0][1:])) if answer else None,
        waiting=[_kept(row) for row in waiting],
        known=Recalled(
            locked[0].summary if locked else None,
            [Said(role, text, actions or (), by) for role, text, actions, by in reversed(lines)],
            int(locked[0].tokens or 0) if locked else 0,
        ),
    )


def assign_to_turn(tx: Connection, mails: Sequence[KeptMail], *, turn_id: str) -> None:
    """Record which waiting mail, all in a row, the turn answers. The conversation is locked."""
    first, last = mails[0], mails[-1]
    later(tx, _ASSIGN, session=first.session_id, first=first.id, last=last.id, turn=turn_id)


_FIND_TURN: Final = Statement(lambda _: select(_t.id).where(_t.id == p("turn_id", _t.id)))
_ADD_TURN: Final = Statement(
    lambda d: d.insert(turns).values({column: p(column.name, column) for column in turns.c})
)
_ADD_LINE: Final = Statement(
    lambda d: d.insert(history).values(
        {column: p(column.name, column) for column in history.c if column.name != "id"}
    )
)
_SETTLE: Final = Statement(
    lambda _: (
        update(inbox)
        .where(
            or_(_i.turn_id == p("turn", _i.turn_id), _i.task_id == p("task", _i.task_id)),
            _IS_WAITING,
        )
        .values(
            state=MailState.ANSWERED,
            turn_id=p("turn", _i.turn_id),
            finished_at=p("at", _i.finished_at),
        )
    )
)
_DELIVERY: Final = ("id", "session_id", "platform", "chat_id", "text", "reply_to", "trace_id")
_ADD_DELIVERY: Final = Statement(
    lambda d: (
        d.insert(deliveries)
        .values(
            {name: p(name, _d[name]) for name in (*_DELIVERY, "state", "finished_at")}
            | {"created_at": p("at", _d.created_at)}
        )
        .on_conflict_do_nothing()
    )
)


def finding_turn(turn_id: str) -> Query:
    """Return the query for the turn's row: there is one if its reply is stored."""
    return _FIND_TURN, {"turn_id": turn_id}


_HEAD: Final = Statement(
    lambda _: (
        select(_c.head_task_id)
        .where(_c.session_id == p("session_id", _c.session_id))
        .with_for_update()
    )
)


def locking_head(session_id: str) -> Query:
    """Return the query that locks a conversation and reads its head, for ``is_head``."""
    return _HEAD, {"session_id": session_id}


def is_head(found: Sequence[Row], task_id: str) -> bool:
    """Whether the task is the head still: a takeover takes the head away from a turn."""
    return bool(found) and found[0].head_task_id == task_id


def store_answer(
    tx: Connection,
    mail: Mail,
    reply: Reply,
    *,
    heard: Heard,
    delivery: Delivery | None,
    now: datetime,
) -> None:
    """Store the reply of a turn with all that follows from it; the caller has verified the lease.

    The history gets the texts in ``heard``, each with its time, and the reply; with no text it does
    not change. The mail of the turn is answered, the tasks of the agent are in the outbox, and the
    delivery is in the state that it has.
    """
    _add_turn(tx, mail, reply, mail.task_id, withheld_tasks=None, now=now)
    _answer_mail(tx, mail, reply, heard=heard, now=now)
    if delivery is not None:
        _add_delivery(tx, delivery, now=now)


def store_withheld(
    tx: Connection, mail: Mail, reply: Reply, name: str, delivery: Delivery | None, *, now: datetime
) -> None:
    """Store the reply of a turn that is not the head any more, as ``name``: it was paid for.

    The customer does not get it, so its mail waits and the history does not change. Its tasks are
    kept with it. The caller has verified the lease and locked the conversation.
    """
    tasks = [asdict(task) for task in reply.agent_tasks]
    _add_turn(tx, mail, reply, name, withheld_tasks=tasks, now=now)
    if delivery is not None:
        withheld = replace(delivery, id=name, state=DeliveryState.WITHHELD)
        _add_delivery(tx, withheld, now=now, finished_at=now)
    note_withheld(tx, mail.session_id, mail.task_id, name)


def release_answer(
    tx: Connection, mail: Mail, reply: Reply, *, heard: Heard, now: datetime
) -> list[TaskMessage]:
    """Answer the mail of a turn with the reply that was withheld; return the tasks kept with it.

    The caller has verified the lease and locked the conversation.
    """
    kept = tx.execute(select(_t.withheld_tasks).where(_t.id == mail.task_id)).scalar_one()
    tasks = [TaskMessage(**task) for task in kept or ()]
    tx.execute(update(turns).where(_t.id == mail.task_id).values(withheld_tasks=None))
    _answer_mail(tx, mail, replace(reply, agent_tasks=tasks), heard=heard, now=now)
    return tasks


def _add_turn(
    tx: Connection, mail: Mail, reply: Reply, turn_id: str, *, withheld_tasks: Any, now: datetime
) -> None:
    later(
        tx,
        _ADD_TURN,
        id=turn_id,
        session_id=mail.session_id,
        reply=reply.text,
        model=reply.model,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        actions=list(reply.actions),
        withheld_tasks=withheld_tasks,
        answered_at=now,
    )
    # They wait for a person anyway, so also those of an answer that is withheld.
    for order in reply.to_approve:
        order_approvals.add(tx, order, now=now)


def _answer_mail(tx: Connection, mail: Mail, reply: Reply, *, heard: Heard, now: datetime) -> None:
    lines = [("user", text, at) for text, at in heard]
    for role, content, at in [*lines, ("assistant", reply.text, now)] if heard else []:
        later(
            tx,
            _ADD_LINE,
            session_id=mail.session_id,
            role=role,
            content=content,
            said_by=None,
            turn_id=mail.task_id,
            created_at=at,
        )
    later(tx, _SETTLE, turn=mail.task_id, task=mail.task_id, at=now)
    for task in reply.agent_tasks:
        outbox.add_later(tx, task, now=now)


def _add_delivery(
    tx: Connection, delivery: Delivery, *, now: datetime, finished_at: datetime | None = None
) -> None:
    values: dict[str, Any] = {name: getattr(delivery, name) for name in _DELIVERY}
    later(tx, _ADD_DELIVERY, **values, state=delivery.state, at=now, finished_at=finished_at)


_PART_SENT: Final = Statement(
    lambda _: (
        update(deliveries)
        .where(
            _d.id == p("delivery", _d.id),
            _d.parts_sent == p("sent_before", _d.parts_sent),
            _d.state != DeliveryState.SENT,
        )
        .values(
            state=p("state", _d.state),
            parts_sent=_d.parts_sent + 1,
            chat_id=p("chat", _d.chat_id),
            error=null(),
            finished_at=p("at", _d.finished_at),
        )
    )
)
_WAITING: Final = Statement(
    lambda _: (
        select(*_MAIL)
        .where(_i.session_id == p("session_id", _i.session_id), _IS_WAITING)
        .order_by(_i.id)
        .limit(p("limit", _i.id))
    )
)
_SET_HEAD: Final = Statement(
    lambda _: (
        update(conversations)
        .where(_c.session_id == p("session", _c.session_id))
        .values(head_task_id=p("head", _c.head_task_id))
    )
)


def record_part_sent(
    tx: Connection, delivery: Delivery, *, last: bool, chat_id: str, now: datetime
) -> None:
    """Count a part that the channel accepted: → sent after the ``last`` part, else → pending."""
    later(
        tx,
        _PART_SENT,
        delivery=delivery.id,
        sent_before=delivery.parts_sent,
        state=DeliveryState.SENT if last else DeliveryState.PENDING,
        chat=chat_id,
        at=now if last else None,
    )


def closing_reads(session_id: str, *, mails: int) -> list[Query]:
    """Return the queries that lock a conversation and read its oldest waiting mail."""
    return [
        (_LOCK, {"session_id": session_id}),
        (_WAITING, {"session_id": session_id, "limit": mails}),
    ]


@dataclass(frozen=True, slots=True)
class Closing:
    """A conversation as the end of a turn finds it, locked.

    It is ordinary if the bot has it, and nothing of a handover is left to do.
    """

    head: str | None
    waiting: list[KeptMail]
    is_ordinary: bool


def read_closing(found: Sequence[Sequence[Row]]) -> Closing:
    """Return what the queries of ``closing_reads`` have found."""
    locked, waiting = found
    mails = [_kept(row) for row in waiting]
    if not locked:
        return Closing(None, mails, is_ordinary=True)
    [row] = locked
    is_ordinary = row.handover_state is None and row.withheld_turn is None
    return Closing(row.head_task_id, mails, is_ordinary and not row.replies_waiting)


def set_head(tx: Connection, session_id: str, task: TaskMessage | None) -> None:
    """Set or clear the head. This transaction holds the lock of the conversation."""
    later(tx, _SET_HEAD, session=session_id, head=task.task_id if task else None)


def _kept(row: Row) -> KeptMail:
    values = row._asdict()
    return KeptMail(**{**values, "state": MailState(values["state"])})
