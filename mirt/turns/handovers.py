"""Let a person take a conversation over, answer it, and hand it back to the bot.

Each act is one transaction that locks the conversation, so it is safe beside turns that run in
other processes (``mirt.store.shop.handovers``). The caller publishes the returned tasks.

>>> acted = handovers.take_over("42")
>>> acted = handovers.say("42", "Доброго дня! Це Олена, зараз допоможу.")
>>> acted = handovers.hand_back("42")
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from mirt.channels import Channel
from mirt.clock import Clock
from mirt.conversations import Conversations
from mirt.errors import ErrorCode, PermanentError
from mirt.observe import metrics, traces
from mirt.operators import current_operator
from mirt.store.engine.database import Database
from mirt.store.queue import outbox
from mirt.store.queue.audit import record_act
from mirt.store.queue.tasks import TaskMessage, TaskOutcome
from mirt.store.shop import handovers as store
from mirt.store.shop import mailbox
from mirt.store.shop.deliveries import Delivery
from mirt.store.shop.handovers import Handover, HandoverState, Move
from mirt.turns.attendance import NO_LIMIT, Attendance
from mirt.turns.content import lines_of
from mirt.turns.person_tags import NO_TAGS, PersonTags

log = structlog.get_logger(__name__)

OVER: Final = "over"
ATTENDED: Final = "attended"
LONGEST_REPLY: Final = 8_000
"""Most characters of one reply of a person."""


@dataclass(frozen=True, slots=True)
class Acted:
    """A conversation after an act, the mail that waits in it, and the tasks to publish.

    ``delivery_id`` is the reply that was said.
    """

    handover: Handover
    waiting: int
    to_publish: Sequence[TaskMessage] = ()
    delivery_id: str | None = None


class Handovers:
    """The handovers of all conversations, by the current operator (``mirt.operators``)."""

    def __init__(
        self,
        database: Database,
        conversations: Conversations,
        channels: Mapping[str, Channel],
        clock: Clock,
        *,
        attendance: Attendance = NO_LIMIT,
        tags: PersonTags = NO_TAGS,
    ) -> None:
        # A series that begins with its first event has no growth.
        for move in (Move.ASK, Move.TAKE, Move.HAND_BACK, Move.EXPIRE):
            metrics.HANDOVER_MOVES.inc(0, move=move.value)
        self._attendance = attendance
        self._tags = tags
        self._database = database
        self._conversations = conversations
        self._channels = channels
        self._clock = clock

    def take_over(self, session_id: str) -> Acted:
        """Give a conversation to the current operator. From now on the bot says nothing in it.

        A part of a reply that is on its way still arrives, before the operator's first reply. An
        answer that the agent is writing is stored and withheld.

        Raises:
            PermanentError: UNKNOWN_CONVERSATION.
            DatabaseError: nothing has changed.
        """
        now = self._clock()
        with self._database.transaction() as tx:
            handover = _lock(tx, session_id)
            tasks = self._take(tx, handover, Move.TAKE, now)
            record_act(tx, "takeover", session_id=session_id, now=now)
            acted = _acted(tx, session_id, tasks)
        if handover.state is not HandoverState.PERSON:
            metrics.HANDOVER_MOVES.inc(move=Move.TAKE.value)
        log.info("conversation_taken_over", session_id=session_id, waiting=acted.waiting)
        return acted

    def say(
        self,
        session_id: str,
        text: str,
        *,
        seen: int | None = None,
        reply_id: str | None = None,
    ) -> Acted:
        """Send a text of the current operator to the customer, after those that were said before.

        It answers the waiting messages, with ``seen`` only those up to this id of the mailbox: the
        operator has not read the others. A second call with the same ``reply_id`` changes nothing.

        Raises:
            PermanentError: UNKNOWN_CONVERSATION; HANDOVER_REFUSED, the bot has it, or no chat of it
                is known; EMPTY_MESSAGE, the text is blank; INVALID_INPUT, it is too long.
            DatabaseError: nothing has changed.
        """
        if not text.strip():
            raise PermanentError("text: it is blank", ErrorCode.EMPTY_MESSAGE)
        if len(text) > LONGEST_REPLY or "\0" in text:
            why = f"text: at most {LONGEST_REPLY} characters, without NUL"
            raise PermanentError(why, ErrorCode.INVALID_INPUT)
        now, operator = self._clock(), current_operator().name
        with self._database.transaction() as tx:
            handover = _lock(tx, session_id)
            if not handover.may(Move.SAY):
                raise _refused(
                    f"the bot answers {session_id}; take it over first: mirt takeover {session_id}"
                )
            reply = self._reply(handover, text.strip(), operator, reply_id)
            if not store.add_reply(tx, reply, now=now):
                return _acted(tx, session_id)
            heard = [
                mail for mail in store.unanswered(tx, handover) if seen is None or mail.id <= seen
            ]
            store.answer_by_person(tx, reply, heard, lines_of(heard), now=now)
            tasks = self._take(tx, handover, Move.SAY, now)
            record_act(tx, "say", session_id=session_id, now=now)
            tasks += self._go_on(tx, session_id, now)
            acted = _acted(tx, session_id, tasks, reply.id)
        if handover.state is HandoverState.ASKED:
            metrics.HANDOVER_MOVES.inc(move=Move.TAKE.value)
        log.info("person_answered", session_id=session_id, messages=len(heard))
        return acted

    def hand_back(self, session_id: str) -> Acted:
        """Give a conversation back to the bot, which answers the messages that wait in one turn.

        Raises:
            PermanentError: UNKNOWN_CONVERSATION; HANDOVER_REFUSED, the bot has it.
            DatabaseError: nothing has changed.
        """
        now = self._clock()
        with self._database.transaction() as tx:
            handover = _lock(tx, session_id)
            if not handover.may(Move.HAND_BACK):
                raise _refused(f"the bot answers {session_id} already")
            by = current_operator().name
            store.record_move(tx, handover, Move.HAND_BACK, by=by, now=now)
            record_act(tx, "handback", session_id=session_id, now=now)
            tasks = [*self._go_on(tx, session_id, now), *self._tag(tx, handover, now, is_set=False)]
            acted = _acted(tx, session_id, tasks)
        metrics.HANDOVER_MOVES.inc(move=Move.HAND_BACK.value)
        log.info("conversation_handed_back", session_id=session_id, waiting=acted.waiting)
        return acted

    def expire(self, session_id: str, since: str) -> TaskOutcome:
        """Give a conversation back to the bot if no person has done anything for too long.

        ``since`` names the handover: its beginning in ISO 8601. Returns the result of the task:
        ``handed_back``, or ``skipped`` with a reason: ``over``, or ``attended``; then a later task
        looks again.

        Raises:
            DatabaseError: nothing has changed.
        """
        now = self._clock()
        with self._database.transaction() as tx:
            handover = store.lock_handover(tx, session_id)
            reason = _reason_to_stay(handover, since, now)
            if handover is None or handover.since is None or reason == OVER:
                return TaskOutcome(_skipped(session_id, OVER))
            if reason is not None:
                until = handover.until
                self._attendance.watch_until(tx, session_id, handover.since, until, now=now)
                return TaskOutcome(_skipped(session_id, reason))
            store.record_move(tx, handover, Move.EXPIRE, now=now)
            tasks = [*self._go_on(tx, session_id, now), *self._tag(tx, handover, now, is_set=False)]
        metrics.HANDOVER_MOVES.inc(move=Move.EXPIRE.value)
        log.warning("handover_expired", session_id=session_id, state=handover.state)
        return TaskOutcome({"status": "handed_back", "session_id": session_id}, tasks)

    def _take(
        self, tx: Connection, handover: Handover, move: Move, now: datetime
    ) -> list[TaskMessage]:
        """Give the conversation to the current operator; return the tasks to publish."""
        until, by = self._attendance.until(now), current_operator().name
        store.record_move(tx, handover, move, by=by, until=until, now=now)
        if handover.state is not HandoverState.PERSON:
            store.silence_head(tx, handover, now=now)
        if handover.state is not HandoverState.PERSON or handover.by != by:
            self._attendance.watch(tx, handover.session_id, now, now=now)
        is_with_bot = handover.state is HandoverState.BOT
        return self._tag(tx, handover, now, is_set=True) if is_with_bot else []

    def _tag(
        self, tx: Connection, handover: Handover, now: datetime, *, is_set: bool
    ) -> list[TaskMessage]:
        task = self._tags.task(
            handover.platform,
            handover.chat_id,
            is_set=is_set,
            name=handover.session_id,
            now=now,
        )
        return [task] if task and outbox.add(tx, task, now=now) else []

    def _go_on(self, tx: Connection, session_id: str, now: datetime) -> list[TaskMessage]:
        """Make the next head if there is none, and return its task."""
        if mailbox.head_of(tx, session_id) is not None:
            return []
        head = self._conversations.promote_oldest(tx, session_id, now=now)
        return [head] if head else []

    def _reply(self, handover: Handover, text: str, by: str, reply_id: str | None) -> Delivery:
        channel = self._channels.get(handover.platform)
        if channel is None or handover.chat_id is None:
            raise _refused(f"no chat of {handover.session_id} is known to write to")
        if not channel.split(text, handover.chat_id):
            raise PermanentError("text: it is blank", ErrorCode.EMPTY_MESSAGE)
        name = f"said:{handover.session_id}:{reply_id or uuid.uuid4().hex}"
        return Delivery(
            id=name,
            session_id=handover.session_id,
            platform=handover.platform,
            chat_id=handover.chat_id,
            text=text,
            trace_id=traces.new_options(name)["trace_id"],
            said_by=by,
        )


def _reason_to_stay(handover: Handover | None, since: str, now: datetime) -> str | None:
    """Return why a handover does not end now; None if no person attends to it."""
    if handover is None or not handover.may(Move.EXPIRE) or handover.since is None:
        return OVER
    if handover.since != datetime.fromisoformat(since) or handover.until is None:
        return OVER
    return ATTENDED if handover.until > now else None


def _skipped(session_id: str, reason: str) -> dict[str, Any]:
    return {"status": "skipped", "session_id": session_id, "reason": reason}


def _lock(tx: Connection, session_id: str) -> Handover:
    handover = store.lock_handover(tx, session_id)
    if handover is None:
        raise _unknown(session_id)
    return handover


def _acted(
    tx: Connection,
    session_id: str,
    to_publish: Sequence[TaskMessage] = (),
    delivery_id: str | None = None,
) -> Acted:
    handover = store.find_handover(tx, session_id)
    if handover is None:
        raise _unknown(session_id)
    waiting = len(mailbox.waiting_mail(tx, session_id, limit=None))
    return Acted(handover, waiting, to_publish, delivery_id)


def _unknown(session_id: str) -> PermanentError:
    why = f"conversation: there is none with the id {session_id}"
    return PermanentError(why, ErrorCode.UNKNOWN_CONVERSATION)


def _refused(why: str) -> PermanentError:
    return PermanentError(f"conversation: {why}", ErrorCode.HANDOVER_REFUSED)
