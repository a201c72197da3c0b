"""``mirt report`` prints the figures of a day that the page *Today* shows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli.app import cli
from tests.deployment import update
from tests.settings import sqlite_url
from tests.unit.service.conftest import Open

Command = Callable[..., Result]


@pytest.fixture
def run(ingress: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command ``report`` of a shop that has answered two customers today."""
    here = ingress()
    here.post(update(7, 1, "Привіт"))
    here.post(update(8, 1, "Є сукня?"))
    monkeypatch.setenv("DATABASE_URL", sqlite_url(tmp_path))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli, ["report", *arguments])


def test_a_report_has_the_messages_and_replies_of_the_day(run: Command) -> None:
    lines = run().stdout.splitlines()
    assert lines[0].endswith(" in Europe/Kyiv, so far")
    told = {words[0]: " ".join(words[1:]) for words in map(str.split, lines[1:])}
    assert told["conversations"] == "2, 0 with a person"
    assert told["messages"] == "2: 2 answered, 0 got an apology, 0 failed, 0 cancelled"
    assert told["goal"] == "100.0 % within 60 s, burn rate 0.0"
    assert told["tokens"].endswith("no price in LLM_PRICES")


def test_a_report_as_json_has_the_same_figures(run: Command) -> None:
    told = json.loads(run("--json").stdout)
    assert (told["messages"], told["answered"], told["is_over"]) == (2, 2, False)


def test_a_day_without_anything_is_a_report_too(run: Command) -> None:
    done = run("--day", "2020-01-01")
    assert done.exit_code == 0
    assert done.stdout.startswith("Wednesday, 1 January 2020 in Europe/Kyiv\n")


def test_a_day_that_is_none_is_refused_by_its_name(run: Command) -> None:
    refused = run("--day", "yesterday")
    assert str(refused.exception) == "day: must be a day like 2026-03-01"
