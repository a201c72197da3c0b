"""The mailbox of a conversation: each message is answered or has failed, once and in order."""

from contextlib import suppress
from itertools import count
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mirt.conversations import TURN_MESSAGES, as_task
from mirt.errors import LeaseLostError
from mirt.store.engine.database import Database
from mirt.store.shop import mailbox
from mirt.store.tables import inbox
from tests.properties.conftest import empty, run
from tests.unit.business import mail, rows
from tests.unit.turns.conftest import Shop, open_shop

LEASE_S: Final = 10


class WorkerKilledError(BaseException):
    """The process of a turn dies here."""


class Mailbox(RuleBasedStateMachine):
    """A customer who writes, and workers that answer, fail and die."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        empty(database)
        self.opened = open_shop(database)
        self.shop: Shop = self.opened.__enter__()
        self.numbers = count()
        self.written: list[str] = []
        self.ended: dict[str, str] = {}
        self.replies = 0

    def teardown(self) -> None:
        self.opened.__exit__(None, None, None)

    @property
    def waiting(self) -> list[str]:
        return [task_id for task_id in self.written if task_id not in self.ended]

    @rule(messages=st.integers(1, 3), together=st.booleans())
    def write(self, messages: int, together: bool) -> None:
        new = [f"m{next(self.numbers):03}" for _ in range(messages)]
        if together:
            found = self.shop.conversations.accept_together([mail(one) for one in new])
        else:
            found = [None] * messages
        accept = self.shop.conversations.accept
        accepted = [one or accept(mail(alone)) for one, alone in zip(found, new, strict=True)]
        heads = [one.task_id for one in accepted if one.publication]
        assert heads == ([] if self.waiting else new[:1])
        self.written += new

    @rule(data=st.data())
    def write_again(self, data: st.DataObject) -> None:
        if self.written:
            again = data.draw(st.sampled_from(self.written))
            assert self.shop.conversations.accept(mail(again)).duplicate

    @rule()
    def answer(self) -> None:
        if not self.waiting:
            return
        taken, later = self.waiting[:TURN_MESSAGES], self.waiting[TURN_MESSAGES:]
        outcome = self.shop.answer(mail(taken[0]))
        assert [task.task_id for task in outcome.to_publish] == later[:1]
        self.ended.update(dict.fromkeys(taken, "answered"))
        self.replies += 1
        assert self.shop.agent.asked[-1][0][-len(taken) :] == taken
        assert len(self.shop.shown) == self.replies

    @rule()
    def die_before_the_answer(self) -> None:
        if self.waiting:
            self._die_with([WorkerKilledError()], [])

    @rule()
    def die_in_the_delivery(self) -> None:
        """The reply is stored and paid for; another worker only delivers it."""
        if not self.waiting:
            return
        taken = self.waiting[:TURN_MESSAGES]
        self._die_with([], [WorkerKilledError()])
        asked = len(self.shop.agent.asked)
        self.shop.answer(mail(taken[0]))
        assert len(self.shop.agent.asked) == asked
        self.ended.update(dict.fromkeys(taken, "answered"))
        self.replies += 1

    def _die_with(self, agent: list[BaseException], console: list[BaseException]) -> None:
        head = self.waiting[0]
        self.shop.agent.script = [*agent]
        self.shop.console.script = [*console]
        lease = self.shop.claim(as_task(mail(head)))
        with suppress(WorkerKilledError):
            self.shop.turns.answer(lease, mail(head))
        self.shop.clock.advance(seconds=LEASE_S)

    @rule()
    def a_late_worker_writes(self) -> None:
        """A worker loses its lease while the LLM thinks, and changes nothing."""
        if not self.waiting:
            return
        head = self.waiting[0]
        lost = self.shop.claim(as_task(mail(head)))
        self.shop.clock.advance(seconds=LEASE_S)
        self.shop.claim(as_task(mail(head)), "another")
        try:
            self.shop.turns.answer(lost, mail(head))
        except LeaseLostError:
            pass
        else:
            raise AssertionError("a worker without the lease has answered")
        self.shop.clock.advance(seconds=LEASE_S)

    @rule()
    def fail_for_good(self) -> None:
        """The mail of a turn that was never opened fails alone; the apology is the next head."""
        if not self.waiting:
            return
        lease = self.shop.claim(as_task(mail(self.waiting[0])))
        del lease
        taken = [row.task_id for row in self.rows() if row.turn_id == self.waiting[0]]
        self.shop.clock.advance(seconds=LEASE_S)
        [apology] = self.shop.fails_for_good(self.waiting[0])
        self.ended.update(dict.fromkeys({self.waiting[0], *taken}, "failed"))
        assert self.shop.head() == apology.task_id
        self.shop.speak(apology)
        self.replies += 1

    def rows(self) -> list[mailbox.KeptMail]:
        return list(rows(self.shop.database, inbox))  # type: ignore[arg-type]

    @invariant()
    def each_message_is_kept_once_and_in_its_state(self) -> None:
        found = [(row.task_id, row.state) for row in self.rows()]
        assert found == [(one, self.ended.get(one, "waiting")) for one in self.written]

    @invariant()
    def the_head_is_the_oldest_waiting_message(self) -> None:
        assert self.shop.head() == (self.waiting[0] if self.waiting else None)


def test_the_mailbox_is_as_its_model(database: Database) -> None:
    run(lambda: Mailbox(database))
