"""Asking before something is done to many."""

import sys
from typing import Annotated

import typer

from service.cli.errors import CommandError

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
