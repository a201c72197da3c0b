"""A text from outside is shown in every place, and obeyed in none."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.admin_ui.auth.roles import Role
from service.cli.app import cli
from service.cli.errors import exit_on_error, not_found
from service.cli.output import say_block
from service.processes import embedded
from tests.deployment import update
from tests.fakes import FakeServices, Status
from tests.settings import sqlite_url
from tests.unit.observe.conftest import Configure, configured
from tests.unit.service.admin_ui.conftest import Come, come, here
from tests.unit.service.conftest import Ingress

__all__ = ["come", "configured", "here"]

CONTROL = [
    *(chr(code) for code in range(0xA0) if code < 0x20 or code >= 0x7F),
    *"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029",
]
OBEYED = [character for character in CONTROL if character not in "\n\t"]
FORGED = "✓ nothing is wrong (forged)"
HOSTILE = f"Eve{''.join(CONTROL)}\n{FORGED}\r\n{FORGED}\x85{FORGED}\u2028{FORGED}"


@pytest.fixture
def attacked(here: Ingress, services: FakeServices) -> Ingress:
    """A shop with a customer of a hostile name and text, a hostile reply and a hostile error."""
    services.llm.reply = lambda _: HOSTILE
    services.misbehave("telegram", Status(400, {"ok": False, "description": f"Bad: {HOSTILE}"}))
    name = {"id": 7, "is_bot": False, "first_name": HOSTILE, "username": HOSTILE}
    here.post(update(7, 1, HOSTILE, **{"from": name}))
    here.post(update(7, 2, HOSTILE, **{"from": name}))
    return here


@pytest.fixture
def run(attacked: Ingress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command beside the attacked shop; return its output."""
    monkeypatch.setenv("DATABASE_URL", sqlite_url(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*command: str) -> str:
        done = CliRunner().invoke(cli, list(command), catch_exceptions=False)
        assert done.output
        return done.output

    return run


def obeyed(shown: str) -> list[str]:
    return [character for character in OBEYED if character in shown]


def forged(shown: str) -> list[str]:
    return [line for line in shown.splitlines() if line.startswith(FORGED)]


def dead_letter(run: Any) -> str:
    return str(json.loads(run("dead", "list", "--json"))["letters"][0]["task_id"])


@pytest.mark.parametrize(
    "command",
    [
        ["trace", "7"],
        ["trace", "7", "--texts"],
        ["inspect"],
        ["inspect", "active"],
        ["inspect", "stats"],
        ["dead", "list"],
        ["dead", "show", "LETTER"],
        ["dead", "show", "LETTER", "--texts"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_no_command_prints_what_a_terminal_obeys(run: Any, command: list[str]) -> None:
    command = [dead_letter(run) if word == "LETTER" else word for word in command]
    shown = run(*command)
    assert obeyed(shown) == []
    assert forged(shown) == []


def test_the_hostile_name_is_shown(run: Any) -> None:
    [subject] = [line for line in run("trace", "7").splitlines() if " with Eve" in line]
    assert subject.endswith("on telegram"), "its line ends where the command ends it"
    for sign in ("␁", "␛", "␡", r"\u0086", r"\u009b", r"\u202e"):
        assert sign in subject


@pytest.mark.parametrize(
    "command", [["trace", "7", "--texts"], ["inspect"], ["dead", "list"]], ids=" ".join
)
def test_json_has_control_characters_as_escapes_only(run: Any, command: list[str]) -> None:
    shown = run(*command, "--json")
    assert obeyed(shown) == []
    json.loads(shown)


def test_json_keeps_the_text_as_it_is(run: Any) -> None:
    found = json.loads(run("trace", "7", "--texts", "--json"))
    assert HOSTILE.replace("\0", "") in [step.get("said") for step in found["steps"]]


def test_no_error_of_a_command_prints_what_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit), exit_on_error():
        raise not_found("ID", HOSTILE)
    assert obeyed(capsys.readouterr().err) == []


def test_a_reply_is_printed_in_its_lines_and_obeyed_in_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say_block(f"one\ntwo{HOSTILE}")
    shown = capsys.readouterr().out
    assert shown.startswith("one\ntwoEve␀")
    assert obeyed(shown) == []


def test_the_embedded_service_prints_nothing_that_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    embedded._show_reply(HOSTILE, HOSTILE)
    shown = capsys.readouterr().out
    assert "Eve␀" in shown
    assert obeyed(shown) == []
    assert forged(shown) == []


@pytest.mark.parametrize("where", ["event", "value", "name", "inside", "error", "library"])
@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_line_of_the_log_has_what_a_terminal_obeys(
    configured: Configure, capsys: pytest.CaptureFixture[str], log_format: str, where: str
) -> None:
    log = configured(log_format=log_format)
    if where == "event":
        log.info(HOSTILE)
    elif where == "value":
        log.info("seen", path=HOSTILE)
    elif where == "name":
        log.info("seen", **{HOSTILE: 1})
    elif where == "inside":
        log.info("seen", all=[{HOSTILE: HOSTILE}])
    elif where == "error":
        log.info("seen", exc_info=ValueError(HOSTILE))
    else:
        logging.getLogger("library").error("seen %s", HOSTILE)
    written = capsys.readouterr().err
    assert written
    assert obeyed(written) == []
    if log_format == "json":
        json.loads(written)
    elif where != "error":  # a traceback has lines of its own
        assert len(written.splitlines()) == 1


@pytest.mark.parametrize(
    "address", ["/ops", "/ops/conversations", "/ops/trace?id=7&texts=1", "/ops/dead"]
)
def test_no_page_has_what_turns_the_direction_of_writing(
    attacked: Ingress, come: Come, address: str
) -> None:
    shown = come(Role.OPERATOR).get(address).text
    assert "Eve" in shown or address == "/ops"
    assert obeyed(shown) == []


def test_a_path_with_escapes_is_logged_without_them(
    here: Ingress, configured: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configured(log_format="console")
    here.client.simulate_get("/webhooks/%1b%5d52;c;QUFB%1b%5c")
    written = capsys.readouterr().err
    assert "52;c;QUFB" in written
    assert obeyed(written) == []
