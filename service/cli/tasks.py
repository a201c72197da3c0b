"""``mirt cancel`` and ``mirt retry``: end a task, or start a delayed one before its time."""

from typing import Annotated

import typer

from middleware.cancelling import Cancelled
from service.admin.tasks import Hurried, retry_now
from service.admin.tasks import cancel as cancel_task
from service.cli.context import database_only, full_access
from service.cli.errors import CommandError, not_found
from service.cli.output import AsJson, emit, say

TaskId = Annotated[str, typer.Argument(metavar="TASK_ID", help="The id of the task.")]


def cancel(task_id: TaskId, *, as_json: AsJson = False) -> None:
    """Cancel a task that waits, is delayed or runs. It makes no dead letter.

    A message of a customer that is cancelled gets no answer; it stays in the timeline, and the next
    message of the conversation goes on. Exit code 1 if there is no such task, or it is over.
    """
    with full_access() as context:
        result = cancel_task(context, task_id)
    if result is Cancelled.UNKNOWN:
        raise not_found("TASK_ID", f"no task {task_id} waits or runs; mirt inspect active")
    if result is Cancelled.OVER:
        raise CommandError("TASK_ID", f"{task_id} is over; mirt trace {task_id}", "REFUSED")
    if as_json:
        emit({"task_id": task_id, "result": result})
        return
    if result is Cancelled.ASKED:
        say(f"{task_id} runs; its worker stops it within seconds")
        say(f"  to see it: mirt trace {task_id}")
    else:
        say(f"{task_id} is cancelled")


def retry(task_id: TaskId, *, as_json: AsJson = False) -> None:
    """Let a delayed task run now, as the attempt that it waits for.

    Exit code 1 if there is no such task, or it is not delayed, or it is paused.
    """
    with database_only() as context:
        result = retry_now(context, task_id)
    if result is Hurried.UNKNOWN:
        raise not_found("TASK_ID", f"there is no task {task_id}")
    if result is not Hurried.DUE:
        raise CommandError("TASK_ID", f"{task_id} is {result}; mirt trace {task_id}", "REFUSED")
    if as_json:
        emit({"task_id": task_id, "result": result})
        return
    say(f"{task_id} runs as soon as a worker is free")
