"""A database for state machines: each example of Hypothesis begins with empty tables."""

import os
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from mirt.store.engine.database import Database

BOUNDED: Final = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    # A shorter sequence would take minutes to find.
    phases=[Phase.explicit, Phase.generate],
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def run(machine: Callable[[], RuleBasedStateMachine]) -> None:
    """Run examples of a machine, each a new one."""
    run_state_machine_as_test(machine, settings=BOUNDED)  # type: ignore[arg-type]


def empty(database: Database) -> None:
    """Empty the tables that the machines write."""
    tables = "tasks, dead_letters, task_events, conversations, inbox, turns, deliveries, history"
    with database.transaction() as tx:
        tx.exec_driver_sql(f"TRUNCATE {tables}")
