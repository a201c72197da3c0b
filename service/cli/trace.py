"""``mirt trace``: shows what happened to a message, step by step, and what each step waited for."""

from datetime import UTC
from typing import Annotated

import typer

from mirt.clock import format_duration
from mirt.counting import counted
from mirt.timeline import Step, Timelines, What
from mirt.timeline.timelines import Timeline
from service.admin import audit
from service.cli.context import read_texts
from service.cli.errors import not_found
from service.cli.output import AsJson, emit, hang, quote, say

Texts = Annotated[
    bool, typer.Option("--texts", help="Also show the texts of messages and replies.")
]


def trace(
    name: Annotated[
        str,
        typer.Argument(metavar="ID", help="Id of a trace, a task, a message or a conversation."),
    ],
    *,
    texts: Texts = False,
    as_json: AsJson = False,
) -> None:
    """Show what happened to a message or in a conversation, with times and waits."""
    with read_texts(texts=texts) as context:
        found = Timelines(context.database, context.clock).of(name)
        if found is None:
            raise not_found("ID", f"no trace, task, message or conversation has the id {name}")
        if texts:
            audit.record_texts_shown(context, name, session_id=found.subject.session_id)
    if as_json:
        emit(_document(found, texts=texts))
        return
    _say_subject(found)
    day = None
    for step in found.steps:
        if (date := step.at.astimezone(UTC).date()) != day:
            say(f"{date} (UTC)", style="dim")
            day = date
        _say_step(step, texts=texts)
    if not found.steps:
        say("nothing is known of it any more", style="dim")
    if found.others:
        say("", "Other conversations have a message of this id, too:")
        say(*(f"    mirt trace {other}" for other in found.others))


def _say_subject(found: Timeline) -> None:
    conversation = found.conversation
    if found.subject.trace_id is not None:
        say(f"trace {found.subject.trace_id}", style="bold")
    if conversation is None:
        if found.subject.session_id is not None:
            say(f"conversation {found.subject.session_id}", style="bold")
        return
    name = f" with {conversation.customer_name}" if conversation.customer_name else ""
    say(f"conversation {conversation.session_id}{name} on {conversation.platform}", style="bold")
    if conversation.unreachable_since is not None:
        since = f"{conversation.unreachable_since.astimezone(UTC):%Y-%m-%d %H:%M}"
        say(f"unreachable since {since}: the customer has blocked us; their next message ends it")
    if conversation.head_task_id is not None:
        waiting = counted(conversation.waiting, "message waits", "messages wait")
        say(f"{waiting}; it is the turn of {conversation.head_task_id}")


def _say_step(step: Step, *, texts: bool) -> None:
    waited = f"+{format_duration(step.waited_s)}" if step.waited_s >= 0.5 else ""
    style = "red" if step.is_wrong else "bold" if step.what is What.NOW else None
    lead = f"{step.at.astimezone(UTC):%H:%M:%S}  {waited:>12}  "
    hang(lead, step.text, style=style)
    if step.waited_for and step.what is not What.NOW:
        hang(" " * len(lead), f"waited for {step.waited_for}", style="dim")
    if texts and step.private:
        quote(f"{'':{len(lead)}}│ ", step.private)


def _document(found: Timeline, *, texts: bool) -> dict[str, object]:
    return {
        "session_id": found.subject.session_id,
        "trace_id": found.subject.trace_id,
        "others": list(found.others),
        "conversation": found.conversation,
        "steps": [
            {
                "at": step.at,
                "what": step.what,
                "text": step.text,
                "task_id": step.task_id,
                "trace_id": step.trace_id,
                "waited_s": step.waited_s,
                "waited_for": step.waited_for,
                "is_wrong": step.is_wrong,
                **({"said": step.private} if texts else {}),
            }
            for step in found.steps
        ],
    }
