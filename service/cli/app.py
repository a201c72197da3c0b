"""The list of all commands. The module of a command is imported when the command is called."""

from typing import Any, Final

import typer

from service.cli.errors import exit_on_error
from service.cli.lazy import CommandSpec, LazyGroup
from service.processes import garbage_collector

COMMANDS: Final = (
    CommandSpec("up", "service.cli.up:up", "Run everything in one process, on loopback."),
    CommandSpec("web", "service.cli.web:web", "Run the ingress under gunicorn."),
    CommandSpec("worker", "service.cli.worker:worker", "Run the tasks of queues, in processes."),
    CommandSpec(
        "scheduler", "service.cli.scheduler:scheduler", "Run the schedule: becomes periodiq."
    ),
    CommandSpec(
        "migrate", "service.cli.migrate:migrate", "Bring the database to this version's schema."
    ),
    CommandSpec("send", "service.cli.send:send", "Write as a customer would, and show the reply."),
    CommandSpec(
        "demo", "service.cli.send:demo", "Play a short conversation on a service of its own."
    ),
    CommandSpec(
        "telegram",
        "service.cli.telegram:telegram",
        "Set, delete or show the webhook of the Telegram bot.",
    ),
    CommandSpec(
        "inspect",
        "service.cli.inspect:inspect",
        "Show what is running, what is stuck and why.",
        is_brief=True,
    ),
    CommandSpec(
        "trace",
        "service.cli.trace:trace",
        "Show what happened to a message, step by step.",
        is_brief=True,
    ),
    CommandSpec(
        "takeover",
        "service.cli.handover:takeover",
        "Answer a conversation yourself: the bot is silent in it.",
    ),
    CommandSpec(
        "say", "service.cli.handover:say", "Write to the customer of a conversation you have."
    ),
    CommandSpec(
        "handback", "service.cli.handover:handback", "Let the bot answer a conversation again."
    ),
    CommandSpec(
        "dead",
        "service.cli.dead:dead",
        "List, replay or delete dead letters: tasks that failed for good.",
        is_brief=True,
    ),
    CommandSpec(
        "orders",
        "service.cli.orders:orders",
        "List, approve or refuse orders that wait for a person.",
        is_brief=True,
    ),
    CommandSpec(
        "report",
        "service.cli.report:report",
        "Show the figures of a day of the shop.",
        is_brief=True,
    ),
    CommandSpec(
        "forget",
        "service.cli.personal_data:forget",
        "Erase all that is stored about a customer.",
        is_brief=True,
    ),
    CommandSpec(
        "export",
        "service.cli.personal_data:export",
        "Print all that is stored about a customer, as JSON.",
        is_brief=True,
    ),
    CommandSpec(
        "purge",
        "service.cli.purge:purge",
        "Move the waiting tasks of a queue to the dead letters.",
        is_brief=True,
    ),
    CommandSpec(
        "audit",
        "service.cli.audit:audit",
        "Show what operators did: who, when, on what.",
        is_brief=True,
    ),
    CommandSpec(
        "pause",
        "service.cli.pause:pause",
        "Hold the work of a queue, task, channel or conversation.",
        is_brief=True,
    ),
    CommandSpec(
        "resume", "service.cli.pause:resume", "Let paused work go on, in its order.", is_brief=True
    ),
    CommandSpec(
        "cancel", "service.cli.tasks:cancel", "Cancel a task that waits or runs.", is_brief=True
    ),
    CommandSpec(
        "retry",
        "service.cli.tasks:retry",
        "Let a delayed task run now.",
        is_brief=True,
    ),
    CommandSpec(
        "doctor",
        "service.cli.doctor:doctor",
        "Check every dependency, and say what to do.",
        is_brief=True,
    ),
)


class Commands(LazyGroup):
    """The commands of ``mirt``."""

    specs = COMMANDS

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the arguments name.

        Loading it, and running it if it is brief, happens without the garbage collector.
        """
        resolved = super().resolve_command(ctx, args)
        if not any(spec.is_brief for spec in COMMANDS if spec.name == args[0]):
            garbage_collector.resume()
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
    garbage_collector.pause()
    garbage_collector.skip_at_exit()
    with exit_on_error():
        cli()
