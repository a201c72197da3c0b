"""A takeover and a turn at the same moment, in two transactions of PostgreSQL: one comes first."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Barrier, Event, Thread
from typing import Any

import pytest
from pydantic import SecretStr

from mirt.channels import Receipt
from mirt.channels.console import ConsoleChannel
from mirt.channels.telegram import TelegramChannel
from mirt.clock import utc_now
from mirt.conversations import Conversations, as_task
from mirt.deliveries import Deliveries
from mirt.errors import LeaseLostError
from mirt.store.engine.database import Database
from mirt.store.queue import leases
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shared.cooldowns import NoCooldowns
from mirt.store.shared.seen_ids import NoSeenIds
from mirt.store.shop import handovers as store
from mirt.store.shop.deliveries import find_delivery
from mirt.store.tables import deliveries, inbox
from mirt.turns import Handovers, Turns
from tests.unit.business import Agent, mail, rows


class Chat(ConsoleChannel):
    """Keeps what the customer gets."""

    shown: list[str]

    def send(self, chat_id: str, part: str, *, reply_to: str | None = None) -> Receipt:
        self.shown.append(part)
        return Receipt(None, chat_id)


@dataclass
class Process:
    """The business in one process, with connections of its own."""

    database: Database
    chat: Chat
    agent: Agent
    conversations: Conversations = field(init=False)
    turns: Turns = field(init=False)
    handovers: Handovers = field(init=False)

    def __post_init__(self) -> None:
        channels = {"telegram": self.chat}
        self.conversations = Conversations(
            self.database, utc_now, NoSeenIds(), platforms=["telegram"]
        )
        sender = Deliveries(self.database, channels, utc_now, NoCooldowns())
        self.turns = Turns(self.database, self.conversations, sender, self.agent, utc_now)
        self.handovers = Handovers(self.database, self.conversations, channels, utc_now)

    def run(self, task: TaskMessage) -> None:
        """Run a task and all that follow from it, as a worker does."""
        with self.database.transaction() as tx:
            lease = leases.claim(
                tx, task, owner="worker", now=utc_now(), duration=timedelta(seconds=30)
            )
            reply = find_delivery(tx, task.task_id)
        if lease is None:
            return
        try:
            if reply is not None and reply.said_by is not None:
                outcome = self.turns.send_text(lease, reply)
            else:
                outcome = self.turns.answer(lease, mail(task.task_id))
        except LeaseLostError:
            return
        for following in outcome.to_publish:
            self.run(following)


@pytest.fixture
def processes(database_url: str) -> Iterator[tuple[Process, Process]]:
    """A worker and the operator's process, with the same chat and agent."""
    telegram = TelegramChannel(token=SecretStr("none"), secret=None, max_connections=1)
    chat, agent = Chat(telegram, lambda _chat, _text: None), Agent()
    chat.shown = []
    with (
        closing(Database(database_url)) as one,
        closing(Database(database_url)) as other,
        closing(telegram),
    ):
        yield Process(one, chat, agent), Process(other, chat, agent)


def in_thread(run: Any, *args: Any) -> Thread:
    thread = Thread(target=run, args=args)
    thread.start()
    return thread


def test_a_takeover_that_is_about_to_commit_makes_the_turn_wait_and_then_withhold(
    processes: tuple[Process, Process],
) -> None:
    worker, operator = processes
    worker.conversations.accept(mail("t1"))
    asked, may_answer = Event(), Event()

    def think() -> None:
        asked.set()
        may_answer.wait(20)

    worker.agent.meanwhile = think
    turn = in_thread(worker.run, as_task(mail("t1")))
    assert asked.wait(20)
    taken, may_commit = Event(), Event()

    def take_over_slowly() -> None:
        with operator.database.transaction() as tx:
            handover = store.lock_handover(tx, "s")
            assert handover is not None
            store.record_move(tx, handover, store.Move.TAKE, by="olena", now=utc_now())
            store.silence_head(tx, handover, now=utc_now())
            taken.set()
            may_commit.wait(20)

    taking = in_thread(take_over_slowly)
    assert taken.wait(20)
    may_answer.set()
    turn.join(0.3)
    assert turn.is_alive(), "the turn waits for the lock of the conversation"
    may_commit.set()
    taking.join(20)
    turn.join(20)
    assert worker.chat.shown == []
    assert [row.state for row in rows(worker.database, deliveries)] == ["withheld"]
    assert [row.state for row in rows(worker.database, inbox)] == ["waiting"]


@pytest.mark.parametrize("seed", range(20))
def test_at_the_same_moment_the_customer_hears_one_voice_and_every_message_is_answered_once(
    processes: tuple[Process, Process], seed: int
) -> None:
    worker, operator = processes
    worker.conversations.accept(mail("t1"))
    together = Barrier(2)
    worker.agent.meanwhile = lambda: together.wait(20) if seed % 2 else None

    def answer_as_person() -> None:
        together.wait(20)
        operator.handovers.take_over("s")
        for text in ("person 1", "person 2"):
            for task in operator.handovers.say("s", text).to_publish:
                operator.run(task)

    person = in_thread(answer_as_person)
    if not seed % 2:
        together.wait(20)
    worker.run(as_task(mail("t1")))
    person.join(30)
    operator.conversations.accept(mail("t2"))
    worker.agent.meanwhile = lambda: None
    for task in operator.handovers.hand_back("s").to_publish:
        operator.run(task)
    while tasks := worker.conversations.repair():
        for task in tasks:
            worker.run(task)
    heard = operator.chat.shown
    of_person = [text for text in heard if text.startswith("person")]
    assert of_person == ["person 1", "person 2"]
    assert heard[-1].startswith("answer")
    assert heard.index("person 2") == len(heard) - 2
    before = heard[: heard.index("person 1")]
    assert len(before) <= 1
    assert {row.state for row in rows(worker.database, inbox)} == {"answered"}
    assert all("t2" in asked[0] for asked in worker.agent.asked[1:])
