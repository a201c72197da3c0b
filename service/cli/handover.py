"""``mirt takeover``, ``say`` and ``handback``: a person answers instead of the bot."""

from typing import Annotated, Any

import typer

from mirt.counting import counted
from mirt.runtime import current_runtime
from mirt.turns.handovers import Acted
from service.admin import handovers
from service.cli.context import full_access
from service.cli.output import AsJson, emit
from service.cli.output import say as print_lines

Session = Annotated[str, typer.Argument(metavar="SESSION", help="Id of the conversation.")]


def takeover(session_id: Session, *, as_json: AsJson = False) -> None:
    """Take a conversation over: from now on the bot says nothing in it, and its messages wait."""
    with full_access():
        acted = handovers.take_over(current_runtime(), session_id)
    if as_json:
        emit(_document(acted))
        return
    print_lines(
        f"{session_id} is yours, {acted.handover.by}; {_waiting(acted)}",
        f"  answer: mirt say {session_id} TEXT",
        f"  give it back: mirt handback {session_id}",
    )


def say(
    session_id: Session,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the customer gets.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Send a text to the customer of a conversation that was taken over, after earlier texts.

    It counts as the answer to all messages that wait.
    """
    with full_access():
        acted = handovers.say(current_runtime(), session_id, text)
    if as_json:
        emit(_document(acted))
        return
    print_lines(
        f"on its way to {acted.handover.platform} {acted.handover.chat_id}",
        f"  what becomes of it: mirt trace {acted.delivery_id}",
    )


def handback(session_id: Session, *, as_json: AsJson = False) -> None:
    """Hand a conversation back: the bot answers what was written after the last reply."""
    with full_access():
        acted = handovers.hand_back(current_runtime(), session_id)
    if as_json:
        emit(_document(acted))
        return
    print_lines(f"the bot answers {session_id} again; {_waiting(acted)}")


def _waiting(acted: Acted) -> str:
    return counted(acted.waiting, "message waits", "messages wait")


def _document(acted: Acted) -> dict[str, Any]:
    handover = acted.handover
    return {
        "session_id": handover.session_id,
        "state": handover.state,
        "by": handover.by,
        "since": handover.since,
        "until": handover.until,
        "waiting": acted.waiting,
        "delivery_id": acted.delivery_id,
    }
