"""One run: the load and the faults side by side, then what is left to answer, then the facts."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.chaos import facts, load, schedule
from tests.chaos.errands import MESSAGES_FOR_ONE, Errands
from tests.chaos.facts import Facts
from tests.chaos.faults import KINDS
from tests.chaos.load import Load, Sent, names_in
from tests.chaos.stage import Stage, stage
from tests.chaos.storm import Storm, Suffered
from tests.chaos.visits import Visits

ACCEPTED_S: Final = 120.0
"""Seconds that the senders get after the last message is due."""
SETTLED_S: Final = 90.0
"""Seconds for what is not answered: an order of unknown outcome waits for half a minute."""
LOOK_S: Final = 0.5
TABLES: Final = ("inbox", "tasks", "turns", "deliveries", "dead_letters", "conversations", "orders")
UNSETTLED: Final = (
    "SELECT 1 FROM tasks WHERE state NOT IN ('done', 'dead')"
    " AND actor IN ('process_and_respond', 'send_response', 'create_crm_order', 'send_followup')"
    " LIMIT 1"
)

Announce = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """The values from the command line. ``seconds`` is how long customers go on writing.

    ``only``: these kinds of fault; all when there are none. ``sabotage``: a bug on purpose.
    ``patience_s``: what the answers may need after the last message is accepted. ``agent_s``: how
    long the agent thinks.
    """

    messages: int
    chats: int
    faults: int
    seed: int
    seconds: float
    only: Sequence[str] = ()
    sabotage: str | None = None
    patience_s: float = 180.0
    agent_s: float = 0.1


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is over. ``unexpected``: processes that ended by themselves."""

    options: Options
    facts: Facts
    suffered: Sequence[Suffered]
    answers: dict[str, int]
    unexpected: Sequence[str]
    took_s: float

    @property
    def missing(self) -> list[str]:
        """Faults of the plan that did not happen, or that the deployment did not recover from."""
        return [one.planned.kind for one in self.suffered if not one.has_happened]


def run(options: Options, folder: Path, announce: Announce) -> Run:
    """Carry it out; logs and rows are left in ``folder``."""
    writings = load.plan(
        seed=options.seed,
        messages=options.messages,
        chats=options.chats,
        seconds=options.seconds,
    )
    kinds = [kind for name, kind in KINDS.items() if not options.only or name in options.only]
    planned = schedule.plan(
        kinds, seed=options.seed, faults=options.faults, seconds=options.seconds
    )
    with stage(folder, agent_s=options.agent_s, sabotage=options.sabotage) as here:
        storm, began = Storm(here, announce), time.monotonic()
        announce(f"{options.messages} messages in {options.seconds:g} s, {len(planned)} faults")
        raging = threading.Thread(target=storm.rage, args=(planned,), kwargs={"began": began})
        errands = Errands(
            here.deployed.port,
            options.messages // MESSAGES_FOR_ONE,
            options.chats,
            options.seconds,
            options.seed,
        )
        visits = Visits(here, options.messages, options.seconds, options.seed)
        with closing(storm), Load(here.deployed.port, writings) as customers, errands, visits:
            raging.start()
            if not customers.finish(within_s=options.seconds + ACCEPTED_S):
                announce("not every message was accepted")
            if not errands.finish(within_s=ACCEPTED_S):
                announce("not every order was accepted")
            if not visits.finish(within_s=ACCEPTED_S):
                announce("not every visit is over")
            raging.join()
            announce("everything is written and broken; the rest is answered")
            sent = {**customers.sent, **visits.sent}
            _wait_for_answers(here, sent, announce, within_s=options.patience_s)
        known = facts.gather(here, customers.sent, errands, visits)
        _keep_rows(here, folder)
        unexpected = list(here.processes.unexpected)
    took_s = time.monotonic() - began
    return Run(options, known, storm.suffered, dict(customers.answers), unexpected, took_s)


def _wait_for_answers(
    here: Stage, sent: Mapping[str, Sent], announce: Announce, *, within_s: float
) -> None:
    """Return when every accepted message is answered or dead and nothing moves, or time is up."""
    deadline, looking = time.monotonic() + within_s, threading.Event()
    open_, seen = {n for n, one in sent.items() if one.accepted_at is not None}, 0
    while open_ and time.monotonic() < deadline:
        new = facts.told(here, seen)
        seen += len(new)
        open_.difference_update(*(names_in(one.text) for one in new))
        if open_:
            open_.difference_update(*(letter.names for letter in facts.dead(here)))
            looking.wait(LOOK_S)
    if open_:
        announce(f"not answered within {within_s:g} s: {len(open_)} messages")
    deadline = time.monotonic() + SETTLED_S
    while here.rows(UNSETTLED) and time.monotonic() < deadline:
        looking.wait(LOOK_S)


def _keep_rows(here: Stage, folder: Path) -> None:
    """Copy the rows into files: the database goes with the run, and they explain a failure."""
    for table in TABLES:
        rows = here.rows(f"SELECT row_to_json(t) FROM {table} t")
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for (row,) in rows]
        (folder / f"{table}.jsonl").write_text("".join(lines))
    told = [
        json.dumps([one.at, one.chat, one.text], ensure_ascii=False) for one in facts.told(here)
    ]
    (folder / "replies.jsonl").write_text("\n".join(told))
