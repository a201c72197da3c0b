"""``mirt forget`` and ``mirt export``: erase a customer, or give them what is stored about them."""

from typing import Annotated

import typer

from service.admin import personal_data as admin
from service.cli.context import database_only, full_access, read_only
from service.cli.errors import misused, not_found
from service.cli.options import Yes, confirm
from service.cli.output import AsJson, emit, say

Session = Annotated[str, typer.Argument(metavar="SESSION", help="The id of the conversation.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be erased.")]


def forget(
    session: Session, *, dry_run: DryRun = False, yes: Yes = False, as_json: AsJson = False
) -> None:
    """Erase all that is stored about a customer, for good. Shows the counts and asks first.

    Not erased: what the CRM, the channel, logs and backups keep.
    """
    # With --yes it goes on although no row is left: RabbitMQ may have been away the last time.
    if dry_run and yes:
        raise misused("--dry-run", "not together with --yes")
    with read_only() as context:
        found = admin.count(context, session)
    if dry_run:
        _say_counts(session, found, as_json=as_json)
        return
    if not found and not yes:
        raise not_found("SESSION", f"nothing is stored about {session}")
    if found and not as_json:
        _say_counts(session, found, as_json=False)
    confirm(f"Erase all that is stored about {session}, for good?", yes=yes)
    with full_access() as context:
        done = admin.forget(context, context.settings, session)
    if not done.total and not done.unreachable:
        raise not_found("SESSION", f"nothing is stored about {session}")
    if as_json:
        emit(
            {
                "session_id": session,
                "erased": done.rows,
                "rejects": done.rejects,
                "total": done.total,
                "unreachable": done.unreachable,
            }
        )
        return
    say(f"{done.total} rows erased or emptied")
    for where in done.unreachable:
        say(f"not reached: {where}", style="yellow")


def export(session: Session) -> None:
    """Print all that is stored about a customer, as one JSON document."""
    with database_only() as context:
        document = admin.export(context, session)
    if not document["data"]:
        raise not_found("SESSION", f"nothing is stored about {session}")
    emit(document)


def _say_counts(session: str, found: dict[str, int], *, as_json: bool) -> None:
    total = sum(found.values())
    if as_json:
        emit({"session_id": session, "found": found, "total": total})
        return
    if not found:
        say(f"nothing is stored about {session}")
        return
    for table, count in found.items():
        say(f"{count:>8}  {table}")
    say(f"{total:>8}  rows about {session}")
