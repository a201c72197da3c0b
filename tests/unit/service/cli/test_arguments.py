"""Every argument is understood, or refused with its field, the problem and a code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mirt.errors import (
    BrokerUnavailableError,
    DatabaseError,
    ErrorCode,
    PermanentError,
    RedisUnavailableError,
)
from mirt.settings import SettingsError
from mirt.store.engine.revision import SchemaError
from service.admin.redaction import without_texts
from service.cli.app import COMMANDS, cli
from service.cli.errors import as_command_error

run = CliRunner()


@pytest.mark.parametrize(
    ("failed", "exit_code", "code"),
    [
        (SettingsError("REDIS_URL: required"), 78, "CONFIGURATION"),
        (SchemaError("run: mirt migrate"), 78, "SCHEMA"),
        (DatabaseError("refused\nIs it running?"), 69, "UNAVAILABLE"),
        (BrokerUnavailableError("RabbitMQ: refused"), 69, "UNAVAILABLE"),
        (RedisUnavailableError("refused"), 69, "UNAVAILABLE"),
        (PermanentError("queue: unknown", ErrorCode.INVALID_INPUT), 2, "INVALID_INPUT"),
        (PermanentError("refused", ErrorCode.CHANNEL_REFUSED), 1, "CHANNEL_REFUSED"),
    ],
)
def test_every_error_of_ours_has_an_exit_code_and_a_line(
    failed: Exception, exit_code: int, code: str
) -> None:
    told = as_command_error(failed)
    assert told is not None
    assert (told.exit_code, told.code) == (exit_code, code)
    assert "\n" not in told.problem


def test_a_bug_is_not_called_anything_else() -> None:
    assert as_command_error(KeyError("x")) is None


def test_the_text_of_a_customer_is_shown_by_its_size() -> None:
    told = without_texts({"user_message": "Привіт", "metadata": {"a": 1}, "chat_id": "7"})
    assert told == {"user_message": "(6 characters)", "metadata": "(1 fields)", "chat_id": "7"}


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line.name)
def test_every_command_has_its_help(line: object) -> None:
    name = getattr(line, "name")  # noqa: B009
    done = run.invoke(cli, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert "Usage" in done.output


@pytest.mark.parametrize(
    "typed", [["inspekt"], ["dead", "nope"], ["dead", "list", "--limit", "0"], ["trace"]]
)
def test_a_wrong_form_is_usage_and_ends_with_2(typed: list[str]) -> None:
    assert run.invoke(cli, typed).exit_code == 2


def completed(typed: str) -> str:
    """Return the completions for bash."""
    done = subprocess.run(
        [Path(sys.executable).with_name("mirt")],
        env={
            **os.environ,
            "_MIRT_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mirt ins", "inspect"),
        ("mirt inspect re", "registered"),
        ("mirt purge follow", "followups"),
        ("mirt dead list --task send_f", "send_followup"),
        ("mirt dead replay --code CHAN", "CHANNEL_REFUSED"),
    ],
)
def test_a_shell_completes_commands_queues_tasks_and_codes(typed: str, offered: str) -> None:
    assert completed(typed).split() == [offered]


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("service.cli.app", {"pydantic_settings", "sqlalchemy", "rich", "dramatiq"}),
        ("service.cli.inspect", {"pydantic", "psycopg", "sqlalchemy", "dramatiq", "structlog"}),
        ("service.admin.queues", {"alembic", "httpx", "pika", "redis", "dramatiq", "structlog"}),
        ("service.cli.worker", {"pydantic", "psycopg", "sqlalchemy", "dramatiq", "structlog"}),
        ("service.cli.dead", {"alembic", "httpx", "pika", "redis", "dramatiq", "structlog"}),
        ("service.cli.trace", {"alembic", "httpx", "pika", "redis", "dramatiq", "structlog"}),
    ],
)
def test_a_command_loads_no_more_than_it_needs(module: str, heavy: set[str]) -> None:
    program = f"import sys, {module}; print(*(set({sorted(heavy)!r}) & sys.modules.keys()))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == ""


@pytest.mark.parametrize("typed", [["worker", "--check"], ["worker", "llm", "--check"]])
def test_the_health_check_of_workers_loads_no_database_and_no_broker(
    typed: list[str], tmp_path: Path
) -> None:
    heavy = {"pydantic_settings", "psycopg", "sqlalchemy", "dramatiq", "pika", "structlog"}
    heavy |= {"typer", "pydantic"} if typed == ["worker", "--check"] else set()
    program = f"""
import sys
from service.cli import main
sys.argv = ["mirt", *{typed!r}]
try:
    main()
finally:
    print(*({heavy!r} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "no worker is running here\n\n"), done.stderr
