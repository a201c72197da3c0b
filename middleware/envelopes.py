"""A task's row and a message in the broker say the same; here one becomes the other."""

from typing import Any

from dramatiq import Message

from middleware.policy import TASKS
from mirt.store.queue.tasks import TaskMessage


def to_message(task: TaskMessage) -> Message[Any]:
    """The message that wakes a worker up for this task, with the task id as the message id."""
    return Message(
        queue_name=TASKS[task.actor].queue,
        actor_name=task.actor,
        args=tuple(task.args),
        kwargs=dict(task.kwargs),
        options=dict(task.options),
        message_id=task.task_id,
    )


def to_task(message: Message[Any]) -> TaskMessage:
    """What is kept in the row of a message's task."""
    return TaskMessage(
        task_id=message.message_id,
        actor=message.actor_name,
        args=message.args,
        kwargs=message.kwargs,
        options=message.options,
    )
