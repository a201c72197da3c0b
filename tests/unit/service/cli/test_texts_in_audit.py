"""A command that shows the words of a customer leaves a row in the audit, as the page does."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mirt.operators import Door
from mirt.store.queue.audit import Act, acts
from mirt.store.queue.dead_letters import DeadLetter, write_dead_letter
from mirt.store.queue.tasks import TaskMessage
from service.cli.app import cli
from tests.clock import NOON
from tests.deployment import update
from tests.settings import sqlite_url
from tests.unit.service.conftest import Ingress, Open

Command = Callable[..., Result]


@pytest.fixture
def here(ingress: Open) -> Ingress:
    """A shop with a message of a customer, and a dead letter."""
    here = ingress()
    here.post(update(7, 1, "Привіт"))
    task = TaskMessage("a", "summarize_session", kwargs={"session_id": "7"})
    letter = DeadLetter(task, "summarization", "UNEXPECTED", "Error: x", "", 1, None, NOON)
    with here.runtime.database.transaction() as tx:
        write_dead_letter(tx, letter, now=NOON)
    return here


@pytest.fixture
def run(here: Ingress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("DATABASE_URL", sqlite_url(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*command: str) -> Result:
        return CliRunner().invoke(cli, list(command))

    return run


def audited(here: Ingress) -> list[Act]:
    with here.runtime.database.transaction() as tx:
        return acts(tx, limit=9)


@pytest.mark.parametrize(
    ("command", "target", "session_id"),
    [
        (("trace", "7"), "7", "7"),
        (("dead", "show", "a"), "a", "7"),
        (("orders", "list"), "orders", None),
    ],
)
def test_texts_are_audited_and_a_look_without_them_is_not(
    here: Ingress, run: Command, command: tuple[str, ...], target: str, session_id: str | None
) -> None:
    assert run(*command).exit_code == 0
    assert audited(here) == []
    assert run(*command, "--texts").exit_code == 0
    [act] = audited(here)
    assert (act.act, act.target, act.session_id) == ("show texts", target, session_id)
    assert (act.door, "@" in act.operator) == (Door.COMMAND, True)


def test_an_export_is_audited_with_its_number_of_rows(here: Ingress, run: Command) -> None:
    exported = json.loads(run("export", "7").stdout)
    [act] = audited(here)
    assert (act.act, act.target, act.session_id) == ("export", "7", "7")
    assert act.count == sum(map(len, exported["data"].values()))


def test_a_command_that_finds_nothing_is_not_audited(here: Ingress, run: Command) -> None:
    for command in (("export", "8"), ("trace", "8", "--texts"), ("dead", "show", "b", "--texts")):
        assert run(*command).exit_code == 1
    assert audited(here) == []


def test_the_rows_of_a_forgotten_customer_do_not_name_them(here: Ingress, run: Command) -> None:
    run("export", "7")
    run("trace", "7", "--texts")
    assert run("forget", "7", "--yes").exit_code == 0
    assert {(act.act, act.session_id) for act in audited(here)} == {
        ("export", None),
        ("show texts", None),
        ("forget", None),
    }
    assert {act.target for act in audited(here)} == {"a forgotten customer"}
