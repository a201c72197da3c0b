"""Conversations: a message enters the mailbox, and the mailbox says whose turn it is.

Of each conversation at most one message, the head, is published. The others wait in the mailbox
and are answered together with the next head, so order needs no lock and the broker stays small.
"""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from mirt.channels import InboundMessage
from mirt.clock import Clock
from mirt.errors import ErrorCode, PermanentError
from mirt.observe import traces
from mirt.store.engine.database import Database
from mirt.store.queue import outbox
from mirt.store.queue.tasks import TaskMessage
from mirt.store.reports.backlog import Backlog, measure
from mirt.store.shared.seen_ids import SeenIds
from mirt.store.shop import mailbox
from mirt.store.shop.mailbox import KeptMail, Mail
from mirt.task_names import TaskName

ANSWERS: Final = frozenset({TaskName.PROCESS_MESSAGE, TaskName.PROCESS_AND_RESPOND})
"""The tasks that answer a message: for a caller who waits, or for the customer."""
LONGEST_TEXT: Final = 8_000
"""Characters of one message; as many as a turn takes from the mailbox."""
TURN_MESSAGES: Final = 20
"""How many messages a turn answers together at most."""
LONGEST_ID: Final = 200
LONGEST_QUIET: Final = 4
"""A debounce waits for quiet at most this many times as long as the quiet it wants."""

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
_NUL_IN_JSON: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""An escape of JSON, which PostgreSQL refuses as it does the character; not the six characters."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a message: it is in the mailbox, and what is to be published for it."""

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
    ) -> None:
        self._database = database
        self._clock = clock
        self._seen = seen
        self._platforms = platforms
        self._debounce = timedelta(seconds=debounce_s)
        self._double_click = timedelta(seconds=double_click_s)

    def checked(self, message: InboundMessage, *, task_id: str, actor: str, trace_id: str) -> Mail:
        """Make mail of a message that may enter a mailbox.

        Raises:
            PermanentError: EMPTY_MESSAGE, or INVALID_INPUT naming every field that is wrong.
        """
        problems = list(_problems_of(message))
        if not problems and not message.text.strip() and not message.metadata.get("photo"):
            raise PermanentError("user_message: it is blank", ErrorCode.EMPTY_MESSAGE)
        if actor == TaskName.PROCESS_AND_RESPOND and message.chat_id is None:
            problems.append("chat_id: nobody to deliver a reply to")
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
        """Keep the message, once; from the commit on it is not lost.

        Raises:
            DatabaseError: when it could not be kept.
        """
        if self._seen.has(mail.task_id):
            return Accepted(mail.task_id, mail.session_id, duplicate=True)
        now = self._clock()
        with self._database.transaction() as tx:
            mail = _in_its_own_conversation(tx, mail)
            if first := self._clicked_before(tx, mail, now=now):
                return Accepted(first, mail.session_id, duplicate=True)
            new = mailbox.add(tx, mail, now=now)
            publication = self._enter(tx, mail, now=now) if new else None
        self._seen.remember(mail.task_id)
        return Accepted(mail.task_id, mail.session_id, duplicate=not new, publication=publication)

    def backlog(self, *, count_to: int) -> Backlog:
        """How much is waiting; messages are counted up to that many.

        Raises:
            DatabaseError: it cannot be asked.
        """
        with self._database.transaction() as tx:
            # No customer waits for a summary.
            return measure(tx, count_to=count_to, now=self._clock(), actors=ANSWERS)

    def promote_next(
        self, tx: Connection, session_id: str, *, after: str, now: datetime
    ) -> TaskMessage | None:
        """End the turn of ``after`` and give it to the next who waits; what is to be published.

        Nothing happens when it was not the turn of ``after``.
        """
        if mailbox.lock_head(tx, session_id) != after:
            return None
        return self._promote_oldest(tx, session_id, now=now)

    def repair(self) -> list[TaskMessage]:
        """Give the turn to somebody wherever somebody waits and nobody's turn it is."""
        now = self._clock()
        found = []
        with self._database.transaction() as tx:
            for session_id in mailbox.conversations_without_head(tx, limit=100):
                if mailbox.lock_head(tx, session_id) is None:
                    found.append(self._promote_oldest(tx, session_id, now=now))
        return [publication for publication in found if publication]

    def _clicked_before(self, tx: Connection, mail: Mail, *, now: datetime) -> str | None:
        """The task of the same message a moment ago, where no id tells two messages apart."""
        key = mail.metadata.get("content_key")
        if key is None or mail.message_id is not None or not self._double_click:
            return None
        # Two copies at the same moment: the second waits here, and finds the first.
        mailbox.record_activity_and_lock(tx, mail, now=now)
        lately = mailbox.received_since(tx, mail.session_id, now - self._double_click)
        return next((one.task_id for one in lately if one.metadata.get("content_key") == key), None)

    def _enter(self, tx: Connection, mail: Mail, *, now: datetime) -> TaskMessage | None:
        head = mailbox.record_activity_and_lock(tx, mail, now=now)
        if head is None:
            return self._make_head(tx, mail, received=now, last=now, now=now)
        if self._debounce:
            outbox.delay_unstarted(
                tx, head, until=now + self._debounce, at_most=self._debounce * LONGEST_QUIET
            )
        return None

    def _promote_oldest(
        self, tx: Connection, session_id: str, *, now: datetime
    ) -> TaskMessage | None:
        waiting = mailbox.waiting_mail(tx, session_id, limit=TURN_MESSAGES)
        if not waiting:
            mailbox.set_head(tx, session_id, None)
            return None
        head, last = waiting[0], waiting[-1]
        return self._make_head(tx, head, received=head.received_at, last=last.received_at, now=now)

    def _make_head(
        self, tx: Connection, mail: Mail, *, received: datetime, last: datetime, now: datetime
    ) -> TaskMessage | None:
        mailbox.set_head(tx, mail.session_id, mail.task_id)
        task = as_task(mail)
        quiet_at = min(last + self._debounce, received + self._debounce * LONGEST_QUIET)
        if quiet_at > now:
            outbox.add(tx, task, now=now, due_at=quiet_at)
            return None
        return task if outbox.add(tx, task, now=now) else None


def _in_its_own_conversation(tx: Connection, mail: Mail) -> Mail:
    """Keep customers apart whom two platforms happen to give the same id."""
    platform = mailbox.platform_of(tx, mail.session_id)
    if platform in (None, mail.platform):
        return mail
    return replace(mail, session_id=f"{mail.platform}:{mail.session_id}")


def taken_together(waiting: list[KeptMail]) -> list[KeptMail]:
    """Those of the waiting who are answered in one turn, the first among them.

    At most ``TURN_MESSAGES`` messages and ``LONGEST_TEXT`` characters, all to be answered in the
    same way; a command is a turn of its own.
    """
    taken: list[KeptMail] = []
    characters = 0
    for mail in waiting[:TURN_MESSAGES]:
        characters += len(mail.text)
        if taken and (
            characters > LONGEST_TEXT
            or is_command(mail)
            or is_command(taken[0])
            or mail.actor != taken[0].actor
        ):
            break
        taken.append(mail)
    return taken


def is_command(mail: Mail) -> bool:
    """Whether the customer asks to begin afresh: ``/start``, ``/restart``, also ``/start@bot``."""
    word = mail.text.split(maxsplit=1)[0] if mail.text.strip() else ""
    return word.partition("@")[0] in {"/start", "/restart"}


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
        elif len(value) > LONGEST_TEXT:
            yield f"{name}: {len(value)} characters, at most {LONGEST_TEXT} are taken"
    try:
        written = json.dumps(dict(message.metadata), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        yield "metadata: must be JSON"
    else:
        if _UNSTORABLE.search(written) or _NUL_IN_JSON.search(written):
            yield "metadata: a NUL character or half a surrogate pair cannot be stored"


def as_task(mail: Mail) -> TaskMessage:
    """The task that answers a message, under the message's own id."""
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
        options={"trace_id": mail.trace_id, **mail.trace_context},
    )
