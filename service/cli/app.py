"""Every command on one screen. The module of a command is loaded when the command is called."""

import atexit
import gc
from typing import Any, Final

import typer

from service.cli.errors import ended
from service.cli.lazy import CommandSpec, LazyGroup

COMMANDS: Final = (
    CommandSpec("up", "service.cli.up:up", "Run everything in one process, on loopback."),
    CommandSpec("web", "service.cli.web:web", "Run the ingress under gunicorn."),
    CommandSpec("worker", "service.cli.worker:worker", "Work on queues, in processes."),
    CommandSpec(
        "scheduler", "service.cli.scheduler:scheduler", "Run the schedule: becomes periodiq."
    ),
    CommandSpec("migrate", "service.cli.migrate:migrate", "Bring the database to our schema."),
    CommandSpec("send", "service.cli.send:send", "Write as a customer would, and show the reply."),
    CommandSpec(
        "demo", "service.cli.send:demo", "Play a short conversation on a service of its own."
    ),
    CommandSpec("telegram", "service.cli.telegram:telegram", "The bot's webhook."),
    CommandSpec(
        "inspect",
        "service.cli.inspect:inspect",
        "What is going on, what is stuck and why.",
        is_brief=True,
    ),
    CommandSpec(
        "trace",
        "service.cli.trace:trace",
        "What happened to a message, step by step.",
        is_brief=True,
    ),
    CommandSpec(
        "dead", "service.cli.dead:dead", "Dead letters: what failed for good.", is_brief=True
    ),
    CommandSpec(
        "purge",
        "service.cli.purge:purge",
        "Remove what waits in a queue; it can be replayed.",
        is_brief=True,
    ),
    CommandSpec(
        "doctor",
        "service.cli.doctor:doctor",
        "Ask every dependency, and say what is wrong.",
        is_brief=True,
    ),
)


class Commands(LazyGroup):
    """All of them."""

    lines = COMMANDS

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is meant by these arguments; only if it is brief without a collector."""
        resolved = super().resolve_command(ctx, args)
        if not any(line.is_brief for line in COMMANDS if line.name == args[0]):
            gc.freeze()
            gc.enable()
        return resolved


cli = typer.Typer(
    name="mirt",
    cls=Commands,
    epilog="Exit codes: 0 fine, 1 something is wrong, not found or refused, 2 usage, "
    "69 a server cannot be reached, 78 the configuration is wrong.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@cli.callback()
def mirt() -> None:
    """MIRT's background service: one reply to each message, in order."""


def main() -> None:
    """Run the command line."""
    # What is loaded is no garbage: to look for some takes a fifth of a start, and of an end.
    gc.disable()
    atexit.register(gc.freeze)
    with ended():
        cli()
