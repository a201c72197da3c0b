"""Leases, outbox and dead letters: any sequence of steps leaves what a model of ten lines says."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mirt.errors import LeaseLostError
from mirt.store.engine.database import Database
from mirt.store.queue import dead_letters, leases, outbox
from mirt.store.queue.dead_letters import DeadLetterFilter
from mirt.store.queue.leases import Lease
from mirt.store.queue.outbox import REPUBLISH_AFTER, REPUBLISH_DOUBLINGS
from mirt.store.queue.tasks import TaskMessage
from mirt.store.tables import dead_letters as letters
from mirt.store.tables import tasks
from tests.properties.conftest import empty, run
from tests.unit.business import rows
from tests.unit.store.rows import after

LEASE_S: Final = 10.0
IDS: Final = st.sampled_from(["t1", "t2"])
OWNERS: Final = st.sampled_from(["one", "two"])
SECONDS: Final = st.sampled_from([0.0, 1.0, 9.0, 10.0, 11.0, 60.0])


@dataclass(frozen=True)
class Task:
    """A task as the model knows it; ``due`` in seconds since the beginning, None if it is over."""

    state: str
    due: float | None
    owner: str | None = None
    fence: int = 0
    starts: int = 0
    attempt: int = 0
    publications: int = 0


class Queue(RuleBasedStateMachine):
    """Workers that add, claim, renew and end tasks, often too late, and a pump."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        empty(database)
        self.database = database
        self.now = 0.0
        self.tasks: dict[str, Task] = {}
        self.dead: set[str] = set()
        self.given: list[Lease] = []
        """Every lease that was ever given, the lost ones too."""

    def held(self, lease: Lease) -> Task | None:
        """Return the task if the lease is still held."""
        task = self.tasks[lease.task_id]
        is_held = (task.owner, task.fence) == (lease.owner, lease.fence)
        return task if is_held and task.state in {"running", "queued"} else None

    @rule(seconds=SECONDS)
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(task_id=IDS, delay=st.none() | SECONDS)
    def add(self, task_id: str, delay: float | None) -> None:
        due_at = None if delay is None else after(self.now + delay)
        with self.database.transaction() as tx:
            is_new = outbox.add(
                tx, TaskMessage(task_id, "ping"), now=after(self.now), due_at=due_at
            )
        assert is_new is (task_id not in self.tasks)
        if is_new and delay is None:
            pause = REPUBLISH_AFTER.total_seconds()
            self.tasks[task_id] = Task("queued", self.now + pause, publications=1)
        elif is_new and delay is not None:
            self.tasks[task_id] = Task("delayed", self.now + delay)

    @rule(task_id=IDS, owner=OWNERS, later=SECONDS)
    def claim(self, task_id: str, owner: str, later: float) -> None:
        self.now += later
        with self.database.transaction() as tx:
            lease = leases.claim(
                tx,
                TaskMessage(task_id, "ping"),
                owner=owner,
                now=after(self.now),
                duration=timedelta(seconds=LEASE_S),
            )
        task = self.tasks.get(task_id, Task("queued", self.now))
        is_due = task.due is not None and task.due <= self.now
        is_free = task.state == "queued" or (task.state in {"running", "delayed"} and is_due)
        assert (lease is not None) is is_free
        if lease is None:
            return
        self.given.append(lease)
        self.tasks[task_id] = replace(
            task,
            state="running",
            owner=owner,
            due=self.now + LEASE_S,
            fence=task.fence + 1,
            starts=task.starts + 1,
        )
        assert (lease.fence, lease.starts) == (task.fence + 1, task.starts + 1)
        assert lease.attempt == task.attempt

    @rule(data=st.data(), end=st.sampled_from(["finish", "postpone", "give back", "fail"]))
    def end(self, data: st.DataObject, end: str) -> None:
        if not self.given:
            return
        lease = data.draw(st.sampled_from(self.given))
        task, now = self.held(lease), after(self.now)
        try:
            with self.database.transaction() as tx:
                if end == "finish":
                    leases.finish(tx, lease, now=now)
                elif end == "postpone":
                    leases.postpone(tx, lease, due_at=after(self.now + 5), attempt=1)
                elif end == "give back":
                    leases.give_back(tx, lease, now=now)
                else:
                    message = TaskMessage(lease.task_id, "ping")
                    error = OSError()
                    dead_letters.write_failure(tx, lease, message, error, "X", queue="q", now=now)
        except LeaseLostError:
            assert task is None
            return
        assert task is not None, "a worker without the lease has written"
        ended = {
            "finish": replace(task, state="done", due=None, starts=0),
            "postpone": replace(task, state="delayed", due=self.now + 5, starts=0, attempt=1),
            "give back": replace(task, state="queued", due=self.now, starts=task.starts - 1),
            "fail": replace(task, state="dead", due=None, starts=0),
        }
        self.tasks[lease.task_id] = replace(ended[end], owner=None)
        if end == "fail":
            self.dead.add(lease.task_id)

    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        if not self.given:
            return
        owner = data.draw(st.sampled_from(self.given)).owner
        own = [lease for lease in self.given if lease.owner == owner]
        with self.database.transaction() as tx:
            renewed = leases.renew(tx, own, until=after(self.now + LEASE_S)).held
        assert renewed == {lease for lease in own if self.held(lease)}
        for lease in renewed:
            task = self.tasks[lease.task_id]
            self.tasks[lease.task_id] = replace(task, state="running", due=self.now + LEASE_S)

    @rule(owner=OWNERS, is_crash=st.booleans())
    def bury_process(self, owner: str, is_crash: bool) -> None:
        with self.database.transaction() as tx:
            leases.release_owner(tx, owner, count_as_crash=is_crash, now=after(self.now))
        for task_id, task in self.tasks.items():
            if (task.owner, task.state) == (owner, "running"):
                starts = task.starts - int(not is_crash)
                self.tasks[task_id] = replace(task, due=self.now, starts=starts)

    @rule()
    def pump(self) -> None:
        with self.database.transaction() as tx:
            taken = outbox.take_due(tx, now=after(self.now), limit=10)
        due = {i for i, t in self.tasks.items() if t.due is not None and t.due <= self.now}
        assert {message.task_id for message in taken} == due
        for task_id in due:
            task = self.tasks[task_id]
            pause = REPUBLISH_AFTER.total_seconds() * 2 ** min(
                task.publications, REPUBLISH_DOUBLINGS
            )
            published = task.publications + 1
            self.tasks[task_id] = replace(
                task, state="queued", due=self.now + pause, publications=published
            )

    @rule(task_id=IDS)
    def replay(self, task_id: str) -> None:
        with self.database.transaction() as tx:
            wanted = DeadLetterFilter(task_ids=[task_id])
            taken = dead_letters.take_dead(tx, wanted, actors=["ping"], limit=10)
            for letter in taken:
                assert dead_letters.revive(tx, letter.task, now=after(self.now))
        assert len(taken) == (task_id in self.dead)
        if taken:
            self.dead.remove(task_id)
            due = self.now + REPUBLISH_AFTER.total_seconds()
            task = self.tasks[task_id]
            self.tasks[task_id] = replace(task, state="queued", due=due, starts=0, attempt=0)

    @invariant()
    def the_rows_are_as_the_model_says(self) -> None:
        found = {
            row.id: Task(
                row.state,
                None if row.due_at is None else (row.due_at - after(0)).total_seconds(),
                row.owner,
                row.fence,
                row.starts,
                row.attempt,
                row.publications,
            )
            for row in rows(self.database, tasks)
        }
        assert found == self.tasks
        assert {row.task_id for row in rows(self.database, letters)} == self.dead

    @invariant()
    def one_lease_of_a_task_is_held_at_most(self) -> None:
        held = [lease.task_id for lease in self.given if self.held(lease)]
        assert len(held) == len(set(held))


def test_leases_outbox_and_dead_letters_are_as_their_model(database: Database) -> None:
    run(lambda: Queue(database))
