"""Turns a task message into a message of the broker, and back."""

from typing import Any

from dramatiq import Message

from middleware.policy import TASKS
from mirt.store.queue.tasks import TaskMessage


def to_message(task: TaskMessage) -> Message[Any]:
    """Build the message that wakes a worker for this task. The task id is the message id."""
    return Message(
        queue_name=TASKS[task.actor].queue,
        actor_name=task.actor,
        args=tuple(task.args),
        kwargs=dict(task.kwargs),
        options=dict(task.options),
        message_id=task.task_id,
    )


def to_task(message: Message[Any]) -> TaskMessage:
    """Read the content of a task from its message, as its row stores it."""
    return TaskMessage(
        task_id=message.message_id,
        actor=message.actor_name,
        args=message.args,
        kwargs=message.kwargs,
        options=message.options,
    )
