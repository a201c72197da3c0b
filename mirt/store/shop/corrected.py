"""Prepare the replay of a task with corrected arguments: its own rows must not outvote them."""

from sqlalchemy import Connection

from mirt.errors import ErrorCode, PermanentError
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop import mailbox
from mirt.store.shop.deliveries import forget_unsent
from mirt.task_names import TaskName


def forget_arguments(tx: Connection, task: TaskMessage) -> None:
    """Take away what the task would use instead of its arguments.

    Raises:
        PermanentError: INVALID_INPUT, the task is the answer to a customer's message, or a text
            that may have reached its customer.
    """
    if mailbox.find(tx, task.task_id) is not None:
        raise _refused("a customer's message is answered as it was written: replay it, or answer")
    if task.actor == TaskName.SEND_RESPONSE and not forget_unsent(tx, task.task_id):
        raise _refused("a part of this text was sent, or may have been: send the rest as a new one")


def _refused(problem: str) -> PermanentError:
    return PermanentError(f"arguments: {problem}", ErrorCode.INVALID_INPUT)
