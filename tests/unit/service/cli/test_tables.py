"""A table fits the terminal, and leaves out what its reader needs least."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from mirt.store.queue.dead_letters import DeadLetter
from mirt.store.queue.tasks import TaskMessage
from mirt.store.queue.workers import WorkerRow
from service.admin.queues import Activity, QueueView, RunView, WorkerView
from service.cli import dead, output
from service.cli.inspect.active import _table as table_of_runs
from service.cli.inspect.stats import _queue_table, _worker_table

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = "telegram:process:6b628844016c4bea"
WIDTHS = (80, 100, 140)


class Terminal:
    """A terminal of a width, and what was printed on it."""

    def __init__(self, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.width = width
        self.printed = io.StringIO()
        monkeypatch.setattr(output, "console", self._console)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.printed.getvalue().splitlines()]

    def _console(self) -> Console:
        return Console(
            file=self.printed,
            width=self.width,
            force_terminal=True,
            color_system=None,
            highlight=False,
            markup=False,
        )


@pytest.fixture(params=WIDTHS)
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return Terminal(request.param, monkeypatch)


def letter(why: str) -> DeadLetter:
    return DeadLetter(
        task=TaskMessage(ID, "process_and_respond", kwargs={"session_id": "1001"}),
        queue="llm",
        error_code="RETRIES_EXHAUSTED",
        exception=why,
        traceback="",
        attempts=4,
        trace_id="a" * 32,
        sent_at=NOW,
        died_at=NOW,
    )


def activity() -> Activity:
    queue = QueueView("summarization", 12_345, 16, 1_200, 34, 1_234.5, 7_500, 0)
    run = RunView(ID, "process_and_respond", "llm", "host-1:812:9f3c", "1001", "t", 2, 43, 85, 90)
    row = WorkerRow(
        id="host-1:812:9f3c",
        host="host-1.example",
        pid=812,
        queues=("llm",) * 6,
        threads=16,
        finished=1904,
        memory_mb=131,
        stopping=False,
        started_at=NOW,
        seen_at=NOW,
    )
    return Activity(NOW, [queue], [WorkerView(row, 1, 7_500, 2)], [run])


def test_a_dead_letter_is_listed_with_its_reason_and_an_id_to_type(terminal: Terminal) -> None:
    dead._table([letter("ExternalServiceError: llm: POST /chat/completions answered 502")])
    head, row, *_ = terminal.lines
    assert ID in row
    assert "ExternalServiceError: l" in row
    assert head.split()[-1] == "WHY"
    assert max(map(len, terminal.lines)) <= terminal.width


def test_a_reason_that_is_cut_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = Terminal(80, monkeypatch)
    dead._table([letter("ExternalServiceError: " + "why " * 100)])
    assert narrow.lines[1].endswith("…")


def test_a_line_below_names_what_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = Terminal(80, monkeypatch)
    dead._table([letter("why")])
    said = " ".join(narrow.lines[2:])
    assert said.startswith("left out: ")
    for title in ("ATTEMPTS", "CONVERSATION"):
        assert title in said
        assert title not in narrow.lines[0]


def test_a_table_that_fits_leaves_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = Terminal(200, monkeypatch)
    dead._table([letter("why")])
    assert len(wide.lines) == 2


def test_a_pipe_gets_every_column_and_the_whole_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Terminal(output.PIPED_WIDTH, monkeypatch)
    why = "ExternalServiceError: " + "why " * 100
    dead._table([letter(why)])
    assert why.strip() in pipe.lines[1]


def test_a_queue_without_a_worker_is_seen_on_every_terminal(terminal: Terminal) -> None:
    _queue_table(activity(), None)
    assert terminal.lines[0].split()[-1] == "WORKERS"
    assert terminal.lines[1].split()[-1] == "0"


def test_a_worker_is_listed_with_its_queues(terminal: Terminal) -> None:
    _worker_table(activity())
    assert terminal.lines[0].split()[-1] == "QUEUES"
    assert max(map(len, terminal.lines)) <= terminal.width


def test_a_running_task_is_listed_with_an_id_to_type(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    table_of_runs(activity())
    assert terminal.lines[1].endswith(ID)


@pytest.mark.parametrize("rows", [1, 3])
def test_an_id_that_is_wider_than_the_terminal_is_shown_whole(
    monkeypatch: pytest.MonkeyPatch, rows: Any
) -> None:
    narrow = Terminal(40, monkeypatch)
    long = "followup:" + "7" * 60
    output.table([output.Column("ID")], [((long,), None)] * rows, empty="none")
    assert "".join(line.strip() for line in narrow.lines[1:]) == long * rows
