"""Record who answers a conversation: the bot, or a person who has taken it over.

        ask           take, say
   bot ─────► asked ───────────► person
    │ ▲         │                 │ ▲ │
    │ └─────────┴── hand_back, ───┘ │ └─┐
    │               expire          ├───┘ take, say
    └───────────────────────────────┘ take

From the commit of a move to *person* on, the bot says nothing. Every transaction that announces a
text of the bot locks the conversation and asks ``may_speak``, and a turn stores its answer for the
customer only while its task is the head. A takeover takes the head away from a turn, except while a
part of its reply is on its way: then the reply of a person waits behind it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, delete, exists, func, insert, select, update

from mirt.store.engine.statements import Query, Row, Statement, p
from mirt.store.shop import mailbox
from mirt.store.shop.deliveries import Delivery, DeliveryState, find_delivery
from mirt.store.shop.mailbox import KeptMail, MailState
from mirt.store.tables import conversations, deliveries, handover_events, history, inbox, turns

_c: Final = conversations.c


class HandoverState(StrEnum):
    """The one who answers a conversation."""

    BOT = "bot"
    ASKED = "asked"
    """The agent has asked for a person, and none has come yet."""
    PERSON = "person"


class Move(StrEnum):
    """The moves between the states."""

    ASK = "ask"
    TAKE = "take"
    SAY = "say"
    HAND_BACK = "hand_back"
    EXPIRE = "expire"
    """No person has done anything for too long."""


MOVES: Final[Mapping[HandoverState, Mapping[Move, HandoverState]]] = {
    HandoverState.BOT: {Move.ASK: HandoverState.ASKED, Move.TAKE: HandoverState.PERSON},
    HandoverState.ASKED: {
        Move.TAKE: HandoverState.PERSON,
        Move.SAY: HandoverState.PERSON,
        Move.HAND_BACK: HandoverState.BOT,
        Move.EXPIRE: HandoverState.BOT,
    },
    HandoverState.PERSON: {
        Move.TAKE: HandoverState.PERSON,
        Move.SAY: HandoverState.PERSON,
        Move.HAND_BACK: HandoverState.BOT,
        Move.EXPIRE: HandoverState.BOT,
    },
}
"""All allowed moves."""


@dataclass(frozen=True, slots=True)
class Handover:
    """A conversation, and who answers it since when.

    ``by`` is the person who has it, ``reason`` why the agent asked for one. It goes back to the bot
    at ``until`` if no person does anything. ``withheld_turn`` is the stored answer to the mail that
    waits, ``replies_waiting`` whether replies of a person wait behind the head.
    """

    session_id: str
    platform: str
    chat_id: str | None
    head_task_id: str | None
    state: HandoverState
    by: str | None
    reason: str | None
    since: datetime | None
    until: datetime | None
    withheld_turn: str | None
    replies_waiting: bool

    def may(self, move: Move) -> bool:
        """Whether the move is allowed in this state."""
        return move in MOVES[self.state]

    @property
    def is_ordinary(self) -> bool:
        """Whether the conversation is with the bot, and nothing of a handover is left to do."""
        is_bot = self.state is HandoverState.BOT
        return is_bot and self.withheld_turn is None and not self.replies_waiting


_HANDOVER: Final = select(
    _c.session_id,
    _c.platform,
    _c.chat_id,
    _c.head_task_id,
    func.coalesce(_c.handover_state, HandoverState.BOT).label("state"),
    _c.handover_by.label("by"),
    _c.handover_reason.label("reason"),
    _c.handover_since.label("since"),
    _c.handover_until.label("until"),
    _c.withheld_turn,
    _c.replies_waiting,
)


def find_handover(tx: Connection, session_id: str) -> Handover | None:
    """Return the state of a conversation, without a lock; None if there is no conversation."""
    return _handover(tx.execute(_HANDOVER.where(_c.session_id == session_id)).one_or_none())


def handed_over(tx: Connection, session_id: str) -> bool:
    """Whether the conversation is not with the bot: a person has it, or was asked for."""
    state = select(_c.handover_state).where(_c.session_id == session_id)
    return tx.execute(state).scalar() is not None


def lock_handover(tx: Connection, session_id: str) -> Handover | None:
    """Lock the conversation until the transaction ends; return its state; None if there is none."""
    locked = _HANDOVER.where(_c.session_id == session_id).with_for_update()
    return _handover(tx.execute(locked).one_or_none())


def record_move(
    tx: Connection,
    handover: Handover,
    move: Move,
    *,
    now: datetime,
    by: str | None = None,
    reason: str | None = None,
    turn: str | None = None,
    until: datetime | None = None,
) -> None:
    """Make an allowed move. The caller has locked the conversation.

    ``turn`` asked for a person: its reply may still be sent. A person who only goes on moves the
    time at which the conversation goes back, and makes no event.
    """
    state = MOVES[handover.state][move]
    if state is handover.state and by == handover.by:
        _set(tx, handover.session_id, handover_until=until)
        return
    is_bot = state is HandoverState.BOT
    _set(
        tx,
        handover.session_id,
        handover_state=None if is_bot else state,
        handover_by=None if is_bot else by,
        handover_reason=None if is_bot else reason or handover.reason,
        handover_since=None if is_bot else now,
        handover_until=None if is_bot else until,
        handover_turn=turn,
    )
    event = Move.TAKE if move is Move.SAY else move
    row = {"session_id": handover.session_id, "act": event, "operator": by, "reason": reason}
    tx.execute(insert(handover_events).values(**row, at=now))


def ask_for_person(
    tx: Connection,
    session_id: str,
    reason: str,
    *,
    turn: str,
    until: datetime | None,
    now: datetime,
) -> None:
    """Bot → asked, after the reply of this turn. The caller has locked the conversation."""
    handover = find_handover(tx, session_id)
    if handover is not None and handover.may(Move.ASK):
        record_move(tx, handover, Move.ASK, reason=reason, turn=turn, until=until, now=now)


_VOICE: Final = Statement(
    lambda _: (
        select(_c.handover_state, _c.handover_turn, _c.replies_waiting)
        .where(_c.session_id == p("session_id", _c.session_id))
        .with_for_update()
    )
)


def reading_voice(session_id: str) -> Query:
    """Return the query that locks a conversation and reads what ``may_speak`` needs."""
    return _VOICE, {"session_id": session_id}


def may_speak(voice: Sequence[Row], delivery: Delivery) -> bool:
    """Whether a delivery may be announced: it is a person's, or the bot has the conversation."""
    if delivery.said_by is not None or not voice:
        return True
    [found] = voice
    return found.handover_state is None or found.handover_turn == delivery.id


def has_answered(voice: Sequence[Row]) -> bool:
    """Whether a person has answered already, behind the delivery that is being sent."""
    return bool(voice) and bool(voice[0].replies_waiting)


def silence_head(tx: Connection, handover: Handover, *, now: datetime) -> None:
    """Take the head away from the bot. The caller has locked the conversation.

    A head stays if it is the reply of a person, or if a part of its reply is on its way: then it
    ends by itself, and sends no further part.
    """
    head = handover.head_task_id
    if head is None:
        return
    reply = find_delivery(tx, head)
    if reply is None:
        if tx.execute(select(turns.c.id).where(turns.c.id == head)).first() is not None:
            return
    elif reply.said_by is None and reply.state is DeliveryState.PENDING:
        withhold(tx, reply, answered_by_person=handover.replies_waiting, now=now)
    else:
        return
    mailbox.set_head(tx, handover.session_id, None)


def withhold(
    tx: Connection, delivery: Delivery, *, answered_by_person: bool, now: datetime
) -> None:
    """Pending → withheld: the customer does not get what was not sent of this delivery.

    If nothing of a turn's reply was sent, and no person has answered, its mail waits again, as if
    the agent had not answered yet. The answer is kept (``withheld_turn``). The caller has locked
    the conversation.
    """
    name = withheld_name(delivery.id, now)
    is_of_turn = exists().where(turns.c.id == delivery.id)
    is_silent = not delivery.parts_sent and not delivery.unknown
    is_turn = is_silent and tx.execute(select(is_of_turn)).scalar_one()
    is_unanswered = is_turn and not answered_by_person
    tx.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery.id)
        .values(
            id=name if is_unanswered else delivery.id,
            state=DeliveryState.WITHHELD,
            finished_at=now,
        )
    )
    if not is_turn:
        return
    said = delete(history).where(
        history.c.session_id == delivery.session_id, history.c.turn_id == delivery.id
    )
    if not is_unanswered:
        tx.execute(said.where(history.c.role == "assistant"))
        return
    tx.execute(said)
    tx.execute(update(turns).where(turns.c.id == delivery.id).values(id=name))
    tx.execute(
        update(inbox)
        .where(inbox.c.turn_id == delivery.id, inbox.c.state == MailState.ANSWERED)
        .values(state=MailState.WAITING, finished_at=None)
    )
    _set(tx, delivery.session_id, withheld_turn=name)


def withheld_name(turn_id: str, now: datetime) -> str:
    """Return the id of the withheld answer of a turn. The turn may be run again, with its own."""
    return f"{turn_id}:withheld:{int(now.timestamp() * 1000)}"


def note_withheld(tx: Connection, session_id: str, turn_id: str, name: str) -> None:
    """Remember a withheld answer as long as the mail of its turn waits."""
    waits = exists().where(inbox.c.turn_id == turn_id, inbox.c.state == MailState.WAITING)
    tx.execute(
        update(conversations).where(_c.session_id == session_id, waits).values(withheld_turn=name)
    )


def release_withheld(tx: Connection, handover: Handover, waiting: Sequence[KeptMail]) -> None:
    """Let the withheld answer be sent if it answers all mail that waits; else it stays withheld.

    The turn of the oldest mail then finds its answer stored. The caller has locked the
    conversation.
    """
    name = handover.withheld_turn
    if name is None:
        return
    _set(tx, handover.session_id, withheld_turn=None)
    turn_id = waiting[0].task_id if waiting else ""
    if not waiting or any(mail.turn_id != turn_id for mail in waiting):
        return
    if not name.startswith(f"{turn_id}:withheld:"):
        return
    tx.execute(update(turns).where(turns.c.id == name).values(id=turn_id))
    tx.execute(
        update(deliveries)
        .where(deliveries.c.id == name)
        .values(id=turn_id, state=DeliveryState.PENDING, finished_at=None)
    )


def was_withheld(tx: Connection, turn_id: str) -> bool:
    """Whether an answer of this turn was withheld."""
    names = deliveries.c.id.startswith(f"{turn_id}:withheld:", autoescape=True)
    return tx.execute(select(deliveries.c.id).where(names).limit(1)).first() is not None


def add_reply(tx: Connection, reply: Delivery, *, now: datetime) -> bool:
    """Store the reply of a person, as the last of its conversation, and in the history.

    Return False if it is stored already. The caller has locked the conversation.
    """
    if find_delivery(tx, reply.id) is not None:
        return False
    last = select(func.coalesce(func.max(deliveries.c.reply_number), 0)).where(
        deliveries.c.session_id == reply.session_id
    )
    tx.execute(
        insert(deliveries).values(
            id=reply.id,
            session_id=reply.session_id,
            platform=reply.platform,
            chat_id=reply.chat_id,
            text=reply.text,
            trace_id=reply.trace_id,
            said_by=reply.said_by,
            reply_number=last.scalar_subquery() + 1,
            state=DeliveryState.PENDING,
            created_at=now,
        )
    )
    _set(tx, reply.session_id, replies_waiting=True, withheld_turn=None)
    return True


def unanswered(tx: Connection, handover: Handover) -> list[KeptMail]:
    """Return the mail that no one has answered, the oldest first.

    That is the mail that waits, and the mail whose turn has failed since the handover.
    """
    failed = []
    if handover.since is not None:
        failed = mailbox.failed_since(tx, handover.session_id, handover.since)
    waiting = mailbox.waiting_mail(tx, handover.session_id, limit=None)
    return sorted([*failed, *waiting], key=lambda mail: mail.id)


def answer_by_person(
    tx: Connection,
    reply: Delivery,
    heard: Sequence[KeptMail],
    lines: Sequence[tuple[str, datetime]],
    *,
    now: datetime,
) -> None:
    """Waiting, failed → answered: a person has answered this mail; other mail leaves its turn.

    The history gets the lines of the mail, and then the reply.
    """
    tx.execute(
        update(inbox)
        .where(inbox.c.id.in_([mail.id for mail in heard]))
        .values(state=MailState.ANSWERED, turn_id=reply.id, finished_at=now)
    )
    waits = (inbox.c.session_id == reply.session_id, inbox.c.state == MailState.WAITING)
    tx.execute(update(inbox).where(*waits).values(turn_id=None))
    rows = [("user", text, at, None) for text, at in lines]
    tx.execute(
        insert(history),
        [
            {
                "session_id": reply.session_id,
                "role": role,
                "content": content,
                "said_by": by,
                "turn_id": reply.id,
                "created_at": at,
            }
            for role, content, at, by in [*rows, ("assistant", reply.text, now, reply.said_by)]
        ],
    )


def next_reply(tx: Connection, handover: Handover) -> Delivery | None:
    """Return the oldest reply of a person that waits to be sent; None if there is none.

    The caller has locked the conversation.
    """
    if not handover.replies_waiting:
        return None
    found = tx.execute(
        select(deliveries.c.id)
        .where(
            deliveries.c.session_id == handover.session_id,
            deliveries.c.said_by.is_not(None),
            deliveries.c.state == DeliveryState.PENDING,
        )
        .order_by(deliveries.c.reply_number)
        .limit(1)
    ).scalar_one_or_none()
    if found is None:
        _set(tx, handover.session_id, replies_waiting=False)
        return None
    return find_delivery(tx, found)


def _set(tx: Connection, session_id: str, **values: Any) -> None:
    tx.execute(update(conversations).where(_c.session_id == session_id).values(**values))


def _handover(row: Row) -> Handover | None:
    if row is None:
        return None
    return Handover(**{**row._mapping, "state": HandoverState(row.state)})
