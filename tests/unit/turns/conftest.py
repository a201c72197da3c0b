"""A shop on a SQLite file: conversations, an agent with a script, and what customers were shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import delete

from middleware.policy import TASKS
from mirt.channels import Receipt
from mirt.channels.console import ConsoleChannel
from mirt.channels.telegram import TelegramChannel
from mirt.conversations import Conversations, as_task
from mirt.deliveries import Deliveries
from mirt.llm import Agent as Llm
from mirt.store.engine.database import Database
from mirt.store.queue import leases
from mirt.store.queue.dead_letters import delete_revived, revive
from mirt.store.queue.leases import Lease
from mirt.store.queue.tasks import TaskMessage, TaskOutcome
from mirt.store.shared.cooldowns import NoCooldowns
from mirt.store.shop import mailbox
from mirt.store.shop.deliveries import find_delivery
from mirt.store.shop.mailbox import Mail
from mirt.store.tables import tasks
from mirt.turns import DirectTurns, FailedTurns, Handovers, Turns
from tests.clock import FakeClock
from tests.unit.business import Agent, conversations_of, mail


class Console(ConsoleChannel):
    """Shows each part, unless its script says what is to go wrong instead."""

    script: list[BaseException | None]

    def send(self, chat_id: str, part: str, *, reply_to: str | None = None) -> Receipt:
        if self.script and (error := self.script.pop(0)):
            raise error
        return super().send(chat_id, part, reply_to=reply_to)


@dataclass
class Shop:
    """The business, and the steps that a worker takes with it."""

    database: Database
    clock: FakeClock
    agent: Agent
    console: Console
    shown: list[tuple[str, str]]
    conversations: Conversations
    turns: Turns
    failed_turns: FailedTurns
    direct: DirectTurns
    handovers: Handovers
    published: list[TaskMessage] = field(default_factory=list)

    def receive(self, *task_ids: str, **values: Any) -> None:
        """Keep messages that say their id, or ``text``."""
        for task_id in task_ids:
            accepted = self.conversations.accept(mail(task_id, **values))
            self._publish(accepted.publication)

    def claim(self, task: TaskMessage, owner: str = "worker") -> Lease:
        duration = timedelta(seconds=10)
        with self.database.transaction() as tx:
            lease = leases.claim(tx, task, owner=owner, now=self.clock(), duration=duration)
        assert lease is not None, f"{task.task_id} is not to be run now"
        return lease

    def answer(self, one: Mail | str) -> TaskOutcome:
        """Run the task of this message as a worker does, to its end."""
        letter = mail(one) if isinstance(one, str) else one
        lease = self.claim(as_task(letter))
        outcome = self.turns.answer(lease, letter)
        self._publish(*outcome.to_publish)
        return outcome

    def claim_again(self, task_id: str) -> Lease:
        """Claim a task that is done, as if its end had not been written."""
        with self.database.transaction() as tx:
            tx.execute(delete(tasks).where(tasks.c.id == task_id))
        return self.claim(as_task(mail(task_id)))

    def fails_for_good(self, task_id: str) -> list[TaskMessage]:
        """Fail the last attempt, as a worker does."""
        lease = self.claim(as_task(mail(task_id)))
        with self.database.transaction() as tx:
            leases.mark_dead(tx, lease, error_code="UNEXPECTED", now=self.clock())
            owed = self.failed_turns.failed(tx, task_id)
        self._publish(*owed)
        return owed

    def speak(self, task: TaskMessage) -> TaskOutcome:
        """Run the task that sends a text which is already known."""
        lease = self.claim(task)
        with self.database.transaction() as tx:
            delivery = find_delivery(tx, task.task_id)
        assert delivery is not None
        outcome = self.turns.send_text(lease, replace(delivery, session_id=delivery.chat_id))
        self._publish(*outcome.to_publish)
        return outcome

    def dispatch(self, one: Mail) -> TaskOutcome:
        """Answer as a caller does without a queue."""
        return self.direct.answer(one, queue_of=lambda task: TASKS[task].queue)

    def replay(self, task_id: str) -> bool:
        """Replay a dead letter as an operator does; return whether it runs now."""
        with self.database.transaction() as tx:
            assert revive(tx, as_task(mail(task_id)), now=self.clock())
            now = self.failed_turns.reopened(tx, task_id)
            if not now:
                delete_revived(tx, task_id)
        return now

    def head(self, session_id: str = "s") -> str | None:
        with self.database.transaction() as tx:
            return mailbox.lock_head(tx, session_id)

    def state(self, task_id: str) -> str | None:
        with self.database.transaction() as tx:
            found = mailbox.find(tx, task_id)
        return None if found is None else found.state.value

    def _publish(self, *tasks: TaskMessage | None) -> None:
        self.published += [one for one in tasks if one is not None]


@pytest.fixture
def shop(database: Database) -> Iterator[Shop]:
    with open_shop(database) as opened:
        yield opened


@contextmanager
def open_shop(
    database: Database, *, llm: Llm | None = None, max_tokens_per_day: int = 0
) -> Iterator[Shop]:
    """A shop on this database, with an agent of a script unless an ``llm`` is given."""
    clock, agent = FakeClock(), Agent()
    shown: list[tuple[str, str]] = []
    telegram = TelegramChannel(
        token=SecretStr("none"), secret=None, api_url="http://127.0.0.1:9", max_connections=1
    )
    console = Console(telegram, lambda chat, text: shown.append((chat, text)))
    console.script = []
    conversations = conversations_of(database, clock)
    deliveries = Deliveries(database, {"telegram": console}, clock, NoCooldowns())
    turns = Turns(
        database,
        conversations,
        deliveries,
        llm or agent,
        clock,
        max_tokens_per_day=max_tokens_per_day,
    )
    failed_turns = FailedTurns(conversations, clock)
    yield Shop(
        database=database,
        clock=clock,
        agent=agent,
        console=console,
        shown=shown,
        conversations=conversations,
        turns=turns,
        failed_turns=failed_turns,
        direct=DirectTurns(database, conversations, turns, failed_turns, clock),
        handovers=Handovers(database, conversations, {"telegram": console}, clock),
    )
    telegram.close()
