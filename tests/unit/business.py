"""The business in this process: a clock that a test moves, an agent with a script, a mailbox."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Connection, Row, Table, select

from mirt.channels import InboundMessage
from mirt.clock import Clock
from mirt.conversations import Conversations
from mirt.llm.protocol import ChatMessage, Completion
from mirt.store.engine.database import Database
from mirt.store.shared.seen_ids import NoSeenIds
from mirt.store.shop import mailbox
from mirt.store.shop.mailbox import Mail
from mirt.task_names import TaskName


@dataclass
class Agent:
    """Answers by its script, each line once; an error in it is raised."""

    script: list[str | BaseException] = field(default_factory=list)
    asked: list[tuple[list[str], str | None]] = field(default_factory=list)
    """The texts of each conversation that it was asked about, and the summary."""
    meanwhile: Callable[[], object] = lambda: None
    """A call while it thinks."""

    def answer(
        self, conversation: Sequence[ChatMessage], *, summary: str | None, **_more: Any
    ) -> Completion:
        self.asked.append(([line.content for line in conversation], summary))
        self.meanwhile()
        answer = self.script.pop(0) if self.script else f"answer {len(self.asked)}"
        if isinstance(answer, BaseException):
            raise answer
        return Completion(answer, "scripted", prompt_tokens=3, completion_tokens=4)

    def summarise(self, conversation: Sequence[ChatMessage], *, summary: str | None) -> Completion:
        raise NotImplementedError


@dataclass
class SeenIds:
    """Remembers in this process."""

    ids: set[str] = field(default_factory=set)

    def has(self, task_id: str) -> bool:
        return task_id in self.ids

    def remember(self, task_id: str) -> None:
        self.ids.add(task_id)


def conversations_of(database: Database, clock: Clock, **options: Any) -> Conversations:
    return Conversations(
        database, clock, **{"seen": NoSeenIds(), "platforms": ["telegram"], **options}
    )


def message(text: str = "hello", **values: Any) -> InboundMessage:
    first = {"session_id": "s", "platform": "telegram", "chat_id": "7"}
    return InboundMessage(text=text, **{**first, **values})


def mail(task_id: str, text: str | None = None, **values: Any) -> Mail:
    """A message that says its id unless it is told otherwise."""
    first = {
        "session_id": "s",
        "actor": TaskName.PROCESS_AND_RESPOND,
        "platform": "telegram",
        "trace_id": "trace",
        "chat_id": "7",
    }
    return Mail(task_id=task_id, text=task_id if text is None else text, **{**first, **values})


def rows(database: Database, table: Table) -> list[Row[Any]]:
    with database.transaction() as tx:
        return list(tx.execute(select(table).order_by(*table.primary_key)))


def note_locks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the id of each conversation that is locked."""
    locked: list[str] = []
    lock = mailbox.lock_head

    def lock_head(tx: Connection, session_id: str) -> str | None:
        locked.append(session_id)
        return lock(tx, session_id)

    monkeypatch.setattr(mailbox, "lock_head", lock_head)
    return locked
