"""Every command on one screen."""

import typer

from service.cli.processes import migrate, scheduler, up, web, worker
from service.cli.talk import demo, send
from service.cli.telegram import telegram

cli = typer.Typer(
    name="mirt",
    help="MIRT's background service: one reply to each message, in order.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (up, web, worker, scheduler, migrate, send, demo):
    cli.command()(command)
cli.add_typer(telegram, name="telegram")


def main() -> None:
    """Run the command line."""
    cli()
