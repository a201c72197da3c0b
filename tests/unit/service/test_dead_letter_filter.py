"""Command line and page choose dead letters by one grammar, with the same outcome."""

import html
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mirt.clock import utc_now
from mirt.errors import ErrorCode, PermanentError
from mirt.store.queue.dead_letters import DeadLetter, write_dead_letter
from mirt.store.queue.tasks import TaskMessage
from service.admin.dead_letters import parse_filter
from service.cli.app import cli
from service.cli.dead_letter_filter import has_criteria, read_filter
from service.cli.errors import CommandError
from tests.settings import sqlite_url
from tests.unit.service.conftest import Ingress, Open

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OPERATOR = "operators-token"
AGES = {
    "minutes": timedelta(minutes=10),
    "hours": timedelta(hours=5),
    "days": timedelta(days=3),
    "old": timedelta(days=400),
}
"""Dead letters of the table, by task id; each failed so long ago."""


def dead_letter(task_id: str) -> DeadLetter:
    actor, queue = ("ping", "default") if task_id == "old" else ("process_message", "llm")
    return DeadLetter(
        task=TaskMessage(task_id, actor, kwargs={"session_id": task_id}),
        queue=queue,
        error_code="TIME_LIMIT" if task_id == "hours" else "UNEXPECTED",
        exception="ValueError: no",
        traceback="",
        attempts=1,
        trace_id=None,
        sent_at=utc_now(),
    )


@pytest.fixture
def here(ingress: Open) -> Ingress:
    opened = ingress(ops_token=OPERATOR)
    with opened.runtime.database.transaction() as tx:
        for task_id, age in AGES.items():
            write_dead_letter(tx, dead_letter(task_id), now=utc_now() - age)
    return opened


def by_command(folder: Path, field: str, text: str) -> set[str] | str:
    """Return the ids that ``mirt dead list`` finds, or the problem with the field."""
    environment = {"DATABASE_URL": sqlite_url(folder), "TELEGRAM_BOT_TOKEN": ""}
    done = CliRunner().invoke(cli, ["dead", "list", f"--{field}", text, "--json"], env=environment)
    if isinstance(done.exception, CommandError):
        assert (done.exception.exit_code, done.exception.field) == (2, f"--{field}")
        return f"{field}: {done.exception.problem}"
    assert done.exit_code == 0, done.output
    return {one["task_id"] for one in json.loads(done.stdout)["letters"]}


def by_page(here: Ingress, field: str, text: str) -> set[str] | str:
    """Return the ids that ``/ops/dead`` shows, or the problem with the field."""
    bearer = {"Authorization": f"Bearer {OPERATOR}"}
    answer = here.client.simulate_get("/ops/dead", params={field: text}, headers=bearer)
    if answer.status_code == 400:
        shown = html.unescape(answer.text).partition('role="alert">')[2].partition(".</p>")[0]
        return shown[:1].lower() + shown[1:]
    assert answer.status_code == 200
    return {task_id for task_id in AGES if f'id="letter-{task_id}"' in answer.text}


@pytest.mark.parametrize(
    ("field", "text", "outcome"),
    [
        ("since", "30m", {"minutes"}),
        ("since", "24h", {"minutes", "hours"}),
        ("since", "7d", {"minutes", "hours", "days"}),
        ("since", "53w", {"minutes", "hours", "days"}),
        ("since", " 2026-03-01T12:00Z ", None),
        ("since", "2000-01-01", {"minutes", "hours", "days", "old"}),
        ("since", "2000-01-01T12:00:00+02:00", {"minutes", "hours", "days", "old"}),
        ("since", "soon", "since: must be an age like 30m, 24h, 7d, or a time like "),
        ("since", "2y", "since: must be an age"),
        ("since", "-2h", "since: must be an age"),
        ("since", "999999w", "since: must be an age"),
        ("since", "2026-13-01", "since: must be an age"),
        ("queue", "llm", {"minutes", "hours", "days"}),
        ("queue", "lm", "queue: there is no lm; there are crm, default, "),
        ("task", "ping", {"old"}),
        ("task", "pong", "task: there is no pong; there are "),
        ("code", "TIME_LIMIT", {"hours"}),
        ("code", "time_limit", {"hours"}),
        ("code", "NOPE", "code: there is no NOPE; there are "),
        ("conversation", "days", {"days"}),
        ("conversation", "unknown", set()),
    ],
)
def test_a_filter_has_the_same_outcome_on_the_command_line_and_on_the_page(
    here: Ingress, tmp_path: Path, field: str, text: str, outcome: set[str] | str | None
) -> None:
    typed, clicked = by_command(tmp_path, field, text), by_page(here, field, text)
    assert typed == clicked
    if isinstance(outcome, str):
        assert isinstance(typed, str)
        assert typed.startswith(outcome)
    elif outcome is not None:
        assert typed == outcome


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("24h", NOW - timedelta(hours=24)),
        ("2026-02-28T10:00", datetime(2026, 2, 28, 10, tzinfo=UTC)),
        ("2026-02-28T10:00:00+02:00", datetime(2026, 2, 28, 8, tzinfo=UTC)),
        ("2026-02-28", datetime(2026, 2, 28, tzinfo=UTC)),
    ],
)
def test_a_time_is_an_age_or_iso_and_utc_without_a_zone(text: str, since: datetime) -> None:
    assert parse_filter({"since": text}, NOW).since == since


@pytest.mark.parametrize(
    ("fields", "ids", "field"),
    [
        ({"queue": ""}, [], "queue"),
        ({"since": ""}, [], "since"),
        ({"conversation": "\0"}, [], "conversation"),
        ({}, ["a", ""], "id"),
        ({"until": "30m"}, [], "until"),
    ],
)
def test_an_invalid_field_is_refused_by_its_name(
    fields: dict[str, str], ids: list[str], field: str
) -> None:
    with pytest.raises(PermanentError, match=rf"^{field}: must ") as refused:
        parse_filter(fields, NOW, task_ids=ids)
    assert refused.value.error_code == ErrorCode.INVALID_INPUT


def test_a_task_that_fails_after_the_count_never_matches() -> None:
    which = parse_filter({"code": "time_limit"}, NOW, task_ids=["a", "a", "b"])
    assert (which.task_ids, which.error_code, which.until) == (["a", "b"], "TIME_LIMIT", NOW)
    assert has_criteria(which)


def test_a_command_without_options_has_no_criteria() -> None:
    nothing = dict.fromkeys(("queue", "task", "code", "since", "conversation"))
    assert not has_criteria(read_filter(None, **nothing))
