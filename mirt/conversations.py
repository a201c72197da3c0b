"""Accept a customer's message into the mailbox of its conversation, and choose the next head.

At most one message of each conversation, the head, is published. The other messages wait in the
mailbox and are answered together with the next head. So order needs no lock, and the broker stays
small.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Connection

from mirt.channels import InboundMessage
from mirt.channels.webhook import LONGEST_TEXT
from mirt.clock import Clock
from mirt.errors import DatabaseError, ErrorCode, PermanentError
from mirt.observe import traces
from mirt.store.engine.database import Database
from mirt.store.engine.statement_errors import BusyError, StatementError
from mirt.store.engine.statements import Query, Row
from mirt.store.queue import outbox
from mirt.store.queue.tasks import TaskMessage, TaskState
from mirt.store.reports.backlog import Backlog, measure
from mirt.store.shared.seen_ids import SeenIds
from mirt.store.shop import accepting, corrections, mailbox
from mirt.store.shop import turn_steps as steps
from mirt.store.shop.delivery_task import send_response_task
from mirt.store.shop.handovers import (
    Handover,
    HandoverState,
    lock_handover,
    next_reply,
    release_withheld,
)
from mirt.store.shop.mailbox import KeptMail, Mail, MailState
from mirt.task_names import TaskName

log = structlog.get_logger(__name__)

ANSWERS: Final = frozenset({TaskName.PROCESS_MESSAGE, TaskName.PROCESS_AND_RESPOND})
"""The tasks that answer a message: to the caller, or to the customer."""
TURN_MESSAGES: Final = 20
"""Most messages that one turn answers together."""
LONGEST_FOREIGN_ID: Final = 500
"""Characters of an id that only the platform reads. It must fit into an index."""
LONGEST_ID: Final = 200
"""Most characters of a session id or a chat id."""
BATCH_LOCK_TIMEOUT_S: Final = 0.2
LONGEST_QUIET: Final = 4
"""A debounced message waits at most this many times DEBOUNCE_SECONDS."""
ALBUM_QUIET: Final = timedelta(seconds=1)
"""Time for the other parts of an album, which a platform sends one by one, to arrive."""

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
_NUL_IN_JSON: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""JSON's escape of NUL, which PostgreSQL refuses like NUL itself. A backslash that is escaped
itself, followed by ``u0000``, is plain text and does not match."""

STOP_WORDS: Final = frozenset(
    {"стоп", "stop", "відписатися", "відписатись", "відписка", "отписаться", "unsubscribe"}
)
"""Messages that end the follow-ups of a customer, if they are the whole message."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to an accepted message, which is in the mailbox now.

    ``publication`` is the task to publish. It is ``None`` if another message is the head, if the
    task is delayed, or for a duplicate.
    """

    task_id: str
    session_id: str
    duplicate: bool
    publication: TaskMessage | None = None


class Conversations:
    """The mailboxes of all conversations."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        seen: SeenIds,
        *,
        platforms: Collection[str],
        debounce_s: float = 0,
        double_click_s: float = 0,
        delay_notice_s: float = 0,
    ) -> None:
        self._database = database
        self._clock = clock
        self._seen = seen
        self._platforms = platforms
        self._debounce = timedelta(seconds=debounce_s)
        self._double_click = timedelta(seconds=double_click_s)
        self._delay_notice = timedelta(seconds=delay_notice_s)

    def checked(self, message: InboundMessage, *, task_id: str, actor: str, trace_id: str) -> Mail:
        """Validate a message and return it as mail.

        Raises:
            PermanentError: EMPTY_MESSAGE, or INVALID_INPUT naming every wrong field.
        """
        problems = list(_problems_of(message))
        files = message.metadata.get("photo") or message.metadata.get("unread")
        if not problems and not message.text.strip() and not files:
            raise PermanentError("user_message: it is blank", ErrorCode.EMPTY_MESSAGE)
        if actor == TaskName.PROCESS_AND_RESPOND and message.chat_id is None:
            problems.append("chat_id: required, the reply is delivered to it")
        if message.platform not in self._platforms:
            problems.append(f"platform: must be one of {', '.join(sorted(self._platforms))}")
        if problems:
            raise PermanentError("; ".join(problems), ErrorCode.INVALID_INPUT)
        return Mail(
            task_id=task_id,
            actor=actor,
            trace_id=trace_id,
            session_id=message.session_id,
            text=message.text,
            platform=message.platform,
            chat_id=message.chat_id,
            user_id=message.user_id,
            message_id=message.message_id,
            metadata=message.metadata,
            trace_context=traces.context_of(trace_id),
        )

    def accept(self, mail: Mail) -> Accepted:
        """Store the message once. After the commit it cannot be lost.

        Raises:
            DatabaseError: the message could not be stored.
        """
        if self._seen.has(mail.task_id):
            return Accepted(mail.task_id, mail.session_id, duplicate=True)
        now = self._clock()
        with self._database.transaction() as tx:
            mail = _in_its_own_conversation(tx, mail)
            if known := corrections.apply(tx, mail):
                return Accepted(known.task_id, mail.session_id, duplicate=not known.has_changed)
            if first := self._clicked_before(tx, mail, now=now):
                return Accepted(first, mail.session_id, duplicate=True)
            new = mailbox.add(tx, mail, now=now)
            task = self._enter(tx, mail, now=now) if new else None
        self._seen.remember(mail.task_id)
        return Accepted(mail.task_id, mail.session_id, duplicate=not new, publication=task)

    def accept_together(self, mails: Sequence[Mail]) -> list[Accepted | None]:
        """Store many messages in one transaction; None for each that ``accept`` must store alone.

        That is a message that may be a double click, an edit, or is debounced, one whose
        conversation belongs to another platform, and every message of a batch that one of them has
        spoiled.

        Raises:
            DatabaseError: the database is away; nothing is stored.
        """
        together = [mail for mail in mails if self._fits_into_a_batch(mail)]
        try:
            entries = self._store_together(together)
        except (BusyError, StatementError) as spoiled:
            if len(mails) > 1:
                log.warning("batch_not_stored", messages=len(mails), why=str(spoiled))
            return [None] * len(mails)
        accepted = [self._accepted(mail, entries) for mail in mails]
        heads = {one.publication.task_id for one in accepted if one and one.publication}
        self._plan_delay_notices([mail for mail in mails if mail.task_id in heads])
        return accepted

    def _plan_delay_notices(self, heads: Sequence[Mail]) -> None:
        """Queue the notices of messages that are stored already and stay so without a notice."""
        due = [mail for mail in heads if self._has_delay_notice(mail)]
        if not due:
            return
        now = self._clock()
        notice_at = now + self._delay_notice
        try:
            with self._database.transaction() as tx:
                for mail in due:
                    outbox.add_later(tx, _delay_notice(mail), now=now, due_at=notice_at)
        except DatabaseError as failed:
            log.warning("delay_notices_not_planned", messages=len(heads), why=failed.message)

    def _has_delay_notice(self, mail: Mail) -> bool:
        return bool(self._delay_notice) and mail.actor == TaskName.PROCESS_AND_RESPOND

    def _fits_into_a_batch(self, mail: Mail) -> bool:
        is_click = mail.message_id is None and "content_key" in mail.metadata
        is_alone = self._quiet_after(mail) or "edit_of" in mail.metadata
        return not (is_alone or self._database.is_sqlite or (is_click and self._double_click))

    def _store_together(self, mails: Sequence[Mail]) -> dict[str, accepting.Entry]:
        if not mails:
            return {}
        now = self._clock()
        # A locked conversation holds up its own message, and not the batch.
        with self._database.transaction(lock_timeout_s=BATCH_LOCK_TIMEOUT_S) as tx:
            return accepting.accept_all(tx, [(mail, as_task(mail)) for mail in mails], now=now)

    def _accepted(self, mail: Mail, entries: dict[str, accepting.Entry]) -> Accepted | None:
        entry = entries.get(mail.task_id)
        if entry is None:
            return None
        # A second copy in the same batch is a duplicate of the first.
        entries[mail.task_id] = accepting.Entry(is_new=False, is_head=False)
        task = as_task(mail) if entry.is_head else None
        return Accepted(mail.task_id, mail.session_id, duplicate=not entry.is_new, publication=task)

    def backlog(self, *, count_to: int) -> Backlog:
        """Measure the backlog of messages. The count stops at ``count_to``.

        Raises:
            DatabaseError: the database cannot be reached.
        """
        with self._database.transaction() as tx:
            # Only answers count: no customer is waiting for a summary.
            return measure(tx, count_to=count_to, now=self._clock(), actors=ANSWERS)

    def promote_next(
        self, tx: Connection, session_id: str, *, after: str, now: datetime
    ) -> TaskMessage | None:
        """End the turn of ``after``: make the oldest waiting message the head.

        Return the task to publish, if there is one. If ``after`` is not the head, nothing changes.
        """
        if mailbox.lock_head(tx, session_id) != after:
            return None
        return self.promote_oldest(tx, session_id, now=now)

    def closing_reads(self, session_id: str) -> list[Query]:
        """Return the queries that ``promote`` needs, so that they travel with others."""
        return steps.closing_reads(session_id, mails=TURN_MESSAGES if self._debounce else 1)

    def promote(
        self,
        tx: Connection,
        session_id: str,
        found: Sequence[Sequence[Row]],
        *,
        after: str,
        now: datetime,
    ) -> TaskMessage | None:
        """Do as ``promote_next``, with what the queries of ``closing_reads`` have found."""
        closing = steps.read_closing(found)
        if closing.head != after:
            return None
        if not closing.is_ordinary:
            return self.promote_oldest(tx, session_id, now=now)
        waiting = closing.waiting
        if not waiting:
            steps.set_head(tx, session_id, None)
            return None
        task = as_task(waiting[0])
        steps.set_head(tx, session_id, task)
        quiet_at = self._quiet_at(waiting[0], waiting[0].received_at, waiting[-1].received_at)
        is_delayed = quiet_at > now
        outbox.add_later(tx, task, now=now, due_at=quiet_at if is_delayed else None)
        return None if is_delayed else task

    def head_among(self, found: Sequence[Sequence[Row]]) -> TaskMessage | None:
        """Return the task of the head, if what ``closing_reads`` has found begins with it."""
        closing = steps.read_closing(found)
        waiting = closing.waiting
        return as_task(waiting[0]) if waiting and waiting[0].task_id == closing.head else None

    def _quiet_after(self, mail: Mail) -> timedelta:
        """Return the time without a new message before the turn of this one begins."""
        return max(self._debounce, ALBUM_QUIET) if mail.metadata.get("album") else self._debounce

    def _quiet_at(self, head: Mail, first: datetime, last: datetime) -> datetime:
        """Return when the conversation has been quiet for as long as its head wants."""
        quiet = self._quiet_after(head)
        return min(last + quiet, first + quiet * LONGEST_QUIET)

    def repair(self) -> list[TaskMessage]:
        """Make a head for each conversation that has waiting mail, and no head that goes on.

        Return the tasks to publish. One call repairs at most 100 conversations of either kind.
        """
        now = self._clock()
        tasks = []
        with self._database.transaction() as tx:
            for session_id in sorted(mailbox.conversations_without_head(tx, limit=100)):
                if mailbox.lock_head(tx, session_id) is None:
                    tasks.append(self.promote_oldest(tx, session_id, now=now))
            for session_id in sorted(mailbox.conversations_with_dead_head(tx, limit=100)):
                tasks.append(self._replace_dead_head(tx, session_id, now=now))
        return [task for task in tasks if task]

    def _replace_dead_head(
        self, tx: Connection, session_id: str, *, now: datetime
    ) -> TaskMessage | None:
        """Make the oldest waiting message the head. The mail of a dead turn has failed.

        Mail without a reply whose task is gone or done gets a new task.
        """
        found = mailbox.lock_dead_head(tx, session_id)
        if found is None:
            return None
        head, state = found
        log.warning("dead_head_replaced", session_id=session_id, task_id=head, state=state)
        if state == TaskState.DEAD:
            mailbox.settle(tx, turn_id=head, task_id=head, state=MailState.FAILED, now=now)
        elif (kept := mailbox.find(tx, head)) is not None and kept.state is MailState.WAITING:
            outbox.forget_done(tx, head)
        return self.promote_oldest(tx, session_id, now=now)

    def _clicked_before(self, tx: Connection, mail: Mail, *, now: datetime) -> str | None:
        """Return the task id of the same message a moment ago, if this one is a double click.

        Only messages without an id are compared, by their ``content_key``.
        """
        key = mail.metadata.get("content_key")
        if key is None or mail.message_id is not None or not self._double_click:
            return None
        # Of two copies at the same moment, the second waits for this lock and finds the first.
        mailbox.record_activity_and_lock(tx, mail, now=now)
        lately = mailbox.received_since(tx, mail.session_id, now - self._double_click)
        same = (kept for kept in lately if kept.metadata.get("content_key") == key)
        return next((kept.task_id for kept in same), None)

    def _enter(self, tx: Connection, mail: Mail, *, now: datetime) -> TaskMessage | None:
        locked = mailbox.record_activity_and_lock(tx, mail, now=now)
        if locked.is_idle:
            if self._has_delay_notice(mail):
                outbox.add(tx, _delay_notice(mail), now=now, due_at=now + self._delay_notice)
            return self._make_head(tx, mail, received=now, last=now, now=now)
        head, quiet = locked.head, self._quiet_after(mail)
        if quiet and head is not None:
            outbox.delay_unstarted(tx, head, until=now + quiet, at_most=quiet * LONGEST_QUIET)
        return None

    def promote_oldest(
        self, tx: Connection, session_id: str, *, now: datetime
    ) -> TaskMessage | None:
        """Make the head: the oldest reply of a person, else the oldest waiting message.

        Return the task to publish, if there is one. While a person has the conversation, its
        messages wait. The caller has locked the conversation, which has no head that goes on.
        """
        handover = lock_handover(tx, session_id)
        if handover is not None and not handover.is_ordinary:
            return self._promote_in_handover(tx, handover, now=now)
        waiting = mailbox.waiting_mail(tx, session_id, limit=TURN_MESSAGES)
        if not waiting:
            mailbox.set_head(tx, session_id, None)
            return None
        head, last = waiting[0], waiting[-1]
        return self._make_head(tx, head, received=head.received_at, last=last.received_at, now=now)

    def _promote_in_handover(
        self, tx: Connection, handover: Handover, *, now: datetime
    ) -> TaskMessage | None:
        session_id = handover.session_id
        if reply := next_reply(tx, handover):
            mailbox.set_head(tx, session_id, reply.id)
            task = send_response_task(reply)
            return task if outbox.add(tx, task, now=now) else None
        if handover.state is not HandoverState.BOT:
            mailbox.set_head(tx, session_id, None)
            return None
        waiting = mailbox.waiting_mail(tx, session_id, limit=TURN_MESSAGES + 1)
        release_withheld(tx, handover, waiting)
        if not waiting:
            mailbox.set_head(tx, session_id, None)
            return None
        head, last = waiting[0], waiting[-1]
        outbox.forget_done(tx, head.task_id)  # its turn ended, and its answer was withheld
        return self._make_head(tx, head, received=head.received_at, last=last.received_at, now=now)

    def _make_head(
        self, tx: Connection, mail: Mail, *, received: datetime, last: datetime, now: datetime
    ) -> TaskMessage | None:
        mailbox.set_head(tx, mail.session_id, mail.task_id)
        task = as_task(mail)
        quiet_at = self._quiet_at(mail, received, last)
        if quiet_at > now:
            outbox.add(tx, task, now=now, due_at=quiet_at)
            return None
        return task if outbox.add(tx, task, now=now) else None


def _in_its_own_conversation(tx: Connection, mail: Mail) -> Mail:
    """Return the mail under a session id of its own if another platform uses the same id."""
    platform = mailbox.platform_of(tx, mail.session_id)
    if platform in (None, mail.platform):
        return mail
    return replace(mail, session_id=f"{mail.platform}:{mail.session_id}")


def taken_together(waiting: list[KeptMail]) -> list[KeptMail]:
    """Return the waiting messages that one turn answers: the first one and the next that fit.

    A turn takes at most ``TURN_MESSAGES`` messages and ``LONGEST_TEXT`` characters, all with the
    same actor. A command is a turn of its own.
    """
    taken: list[KeptMail] = []
    characters = 0
    for mail in waiting[:TURN_MESSAGES]:
        characters += len(mail.text)
        if taken and (
            characters > LONGEST_TEXT
            or is_alone(mail)
            or is_alone(taken[0])
            or mail.actor != taken[0].actor
        ):
            break
        taken.append(mail)
    return taken


def is_alone(mail: Mail) -> bool:
    """Whether the message is a turn of its own, which the LLM does not answer."""
    return is_command(mail) or is_stop(mail)


def is_command(mail: Mail) -> bool:
    """Whether the customer asks to start again: ``/start``, ``/restart``, also ``/start@bot``."""
    return _command(mail) in {"/start", "/restart"}


def is_stop(mail: Mail) -> bool:
    """Whether the customer wants no follow-ups: ``/stop``, ``/stop@bot``, or nothing but a word."""
    words = re.sub(r"[^\w ]", "", mail.text).casefold().strip()
    return _command(mail) == "/stop" or words in STOP_WORDS


def _command(mail: Mail) -> str:
    word = mail.text.split(maxsplit=1)[0] if mail.text.strip() else ""
    return word.partition("@")[0]


def _problems_of(message: InboundMessage) -> Iterator[str]:
    texts = {
        "session_id": message.session_id,
        "user_message": message.text,
        "chat_id": message.chat_id,
        "user_id": message.user_id,
        "message_id": message.message_id,
    }
    for name, value in texts.items():
        if value is None and name not in {"session_id", "user_message"}:
            continue
        if not isinstance(value, str):
            yield f"{name}: must be a text"
        elif _UNSTORABLE.search(value):
            yield f"{name}: a NUL character or half a surrogate pair cannot be stored"
        elif name in {"session_id", "chat_id"} and not 0 < len(value) <= LONGEST_ID:
            yield f"{name}: must have 1 to {LONGEST_ID} characters"
        elif name in {"user_id", "message_id"} and len(value) > LONGEST_FOREIGN_ID:
            yield f"{name}: {len(value)} characters, at most {LONGEST_FOREIGN_ID} are taken"
        elif len(value) > LONGEST_TEXT:
            yield f"{name}: {len(value)} characters, at most {LONGEST_TEXT} are taken"
    try:
        written = json.dumps(dict(message.metadata), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        yield "metadata: must be JSON"
    else:
        if _UNSTORABLE.search(written) or _NUL_IN_JSON.search(written):
            yield "metadata: a NUL character or half a surrogate pair cannot be stored"


def _delay_notice(mail: Mail) -> TaskMessage:
    """Return the task that tells a customer that the answer to this message takes longer."""
    return TaskMessage(
        task_id=f"{mail.task_id}:notice",
        actor=TaskName.SEND_DELAY_NOTICE,
        kwargs={
            "session_id": mail.session_id,
            "platform": mail.platform,
            "chat_id": mail.chat_id,
            "message": mail.task_id,
        },
        options={"trace_id": mail.trace_id, **mail.trace_context},
    )


def as_task(mail: Mail) -> TaskMessage:
    """Return the task that answers a message. Its id is the id of the mail."""
    return TaskMessage(
        task_id=mail.task_id,
        actor=mail.actor,
        kwargs={
            "session_id": mail.session_id,
            "user_message": mail.text,
            "platform": mail.platform,
            "chat_id": mail.chat_id,
            "user_id": mail.user_id,
            "message_id": mail.message_id,
            "metadata": dict(mail.metadata),
        },
        options={
            "trace_id": mail.trace_id,
            **mail.trace_context,
            # The reply goes to the customer; a caller that wants it too asks the database.
            **({"no_result": True} if mail.actor == TaskName.PROCESS_AND_RESPOND else {}),
        },
    )
