"""Options that several commands share, the question before a change, and completions of names."""

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from service.cli.errors import CommandError

Port = Annotated[int, typer.Option(envvar="PORT", min=1, max=65535, help="Port to listen on.")]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        envvar="METRICS_PORT",
        min=1,
        max=65535,
        help="Port that serves /metrics; without it none does.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def confirm(question: str, *, yes: bool) -> None:
    """Return if the operator answers yes, or if ``yes`` is set.

    Raises:
        CommandError: the answer is no, or there is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("--yes", f"{question} Nobody is there to say yes", "REFUSED")
    if not typer.confirm(question, err=True):
        raise CommandError("--yes", "nothing was done", "REFUSED")


def queues(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete the name of a queue; yield each name with its purpose."""
    from middleware.policy import QUEUES

    yield from ((q.name, q.purpose) for q in QUEUES.values() if q.name.startswith(incomplete))


def tasks(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete the name of a task; yield each name with its queue."""
    from middleware.policy import TASKS

    yield from ((t.name, t.queue) for t in TASKS.values() if t.name.startswith(incomplete))


def subjects(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete what can be paused, by the kind before it."""
    kind = ctx.params.get("kind")
    if kind == "queue":
        yield from queues(incomplete)
    elif kind == "task":
        yield from tasks(incomplete)
    elif kind == "channel":
        yield from ((n, "") for n in ("telegram", "manychat") if n.startswith(incomplete))


def codes(incomplete: str) -> Iterator[str]:
    """Complete the error code of a dead letter."""
    from mirt.errors import ErrorCode

    yield from (code.value for code in ErrorCode if code.startswith(incomplete))
