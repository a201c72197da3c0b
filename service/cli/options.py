"""Options that several commands have."""

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from service.cli.errors import CommandError

Port = Annotated[int, typer.Option(envvar="PORT", min=1, max=65535, help="Where to listen.")]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        envvar="METRICS_PORT", min=1, max=65535, help="Where to serve /metrics; else nowhere."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def confirm(question: str, *, yes: bool) -> None:
    """Go on if the answer is yes.

    Raises:
        CommandError: the answer is no, or there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("--yes", f"{question} Nobody is there to say yes", "REFUSED")
    if not typer.confirm(question, err=True):
        raise CommandError("--yes", "nothing was done", "REFUSED")


def queues(incomplete: str) -> Iterator[tuple[str, str]]:
    """Queues, and what they are for."""
    from middleware.policy import QUEUES

    yield from ((q.name, q.purpose) for q in QUEUES.values() if q.name.startswith(incomplete))


def tasks(incomplete: str) -> Iterator[tuple[str, str]]:
    """Tasks, and their queues."""
    from middleware.policy import TASKS

    yield from ((t.name, t.queue) for t in TASKS.values() if t.name.startswith(incomplete))


def codes(incomplete: str) -> Iterator[str]:
    """Error codes of dead letters."""
    from mirt.errors import ErrorCode

    yield from (code.value for code in ErrorCode if code.startswith(incomplete))
