"""``mirt inspect``: what is wrong, which conversations wait longest, and a command for each."""

from typing import TYPE_CHECKING, Annotated

import typer

from mirt.clock import format_duration
from mirt.counting import counted
from service.cli.errors import misused
from service.cli.output import AsJson, emit, hang, say
from service.exit_codes import WRONG

if TYPE_CHECKING:
    from service.admin.conversations import WaitingView
    from service.admin.queues import Activity

MOST_WAITING = 8
Limit = Annotated[int, typer.Option(min=1, max=500, help="Waiting conversations to show.")]


def overview(ctx: typer.Context, *, as_json: AsJson = False, limit: Limit = MOST_WAITING) -> None:
    """Show what is stuck, why, since when, behind which task, and a command for each.

    Exit code 1 if something is wrong.
    """
    if ctx.invoked_subcommand is not None:
        if as_json:
            raise misused("--json", f"put it last: mirt inspect {ctx.invoked_subcommand} --json")
        return
    from service.admin.conversations import waiting
    from service.admin.findings import findings
    from service.admin.queues import activity
    from service.admin.schedule import schedule
    from service.cli.context import read_only

    with read_only() as context:
        now = activity(context)
        wrong = findings(context, now, schedule(context))
        waits = waiting(context, limit=limit)
    if as_json:
        emit(
            {
                "at": now.at,
                "problems": [{"what": found.what, "command": found.command} for found in wrong],
                "waiting": waits,
                "queues": now.queues,
                "workers": len(now.workers),
            }
        )
        raise typer.Exit(WRONG if wrong else 0)
    for found in wrong:
        hang("✗ ", found.what, style="red")
        hang("    ", found.command)
    if not wrong:
        say("✓ nothing is wrong", style="green")
    if waits:
        say("", "Longest waiting:")
    for wait in waits:
        _say_waiting(wait)
    say("", _summary(now))
    raise typer.Exit(WRONG if wrong else 0)


def _say_waiting(wait: "WaitingView") -> None:
    name = f" ({wait.customer_name})" if wait.customer_name else ""
    count = counted(wait.messages, "message") if wait.messages else "a reply that is not delivered"
    waited = format_duration(wait.waited_s)
    hang("  ", f"{wait.session_id}{name} for {waited}: {count}", style="bold")
    hang("      ", f"turn of {wait.task}, attempt {wait.attempt}: {wait.why}")
    if wait.worker_id:
        hang("      ", f"in {wait.worker_id}", style="dim")
    if wait.last_error:
        hang("      ", f"before that {wait.last_error}", style="dim")
    hang("      ", wait.command)


def _summary(now: "Activity") -> str:
    ready = sum(queue.ready for queue in now.queues)
    running = sum(queue.running for queue in now.queues)
    delayed = sum(queue.delayed for queue in now.queues)
    dead = sum(queue.dead for queue in now.queues)
    rate = sum(queue.done_per_minute for queue in now.queues)
    return (
        f"{counted(len(now.workers), 'worker')}; {ready} ready, {running} running, "
        f"{delayed} delayed, {dead} dead; {rate:.1f} done a minute"
    )
