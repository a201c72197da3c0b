"""Make the task that tells the staff about a conversation."""

from mirt.observe import traces
from mirt.store.queue.tasks import TaskMessage
from mirt.task_names import TaskName


def tell_staff_task(about_id: str, session_id: str, reason: str) -> TaskMessage:
    """Return the task that tells the staff, once for the task or action ``about_id``.

    It has a trace of its own: that of the customer's message has what the customer got.
    """
    return TaskMessage(
        f"staff:{about_id}",
        TaskName.TELL_STAFF,
        kwargs={"session_id": session_id, "reason": reason},
        options=traces.new_options(TaskName.TELL_STAFF),
    )
