"""Make the task that sends a delivery."""

from mirt.observe import traces
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop.deliveries import Delivery
from mirt.task_names import TaskName


def send_response_task(delivery: Delivery) -> TaskMessage:
    """Return the task that sends the text of a delivery. Its id is the id of the delivery."""
    return TaskMessage(
        task_id=delivery.id,
        actor=TaskName.SEND_RESPONSE,
        kwargs={
            "platform": delivery.platform,
            "chat_id": delivery.chat_id,
            "response_text": delivery.text,
            "reply_to_message_id": delivery.reply_to,
        },
        options={
            "trace_id": delivery.trace_id,
            "session_id": delivery.session_id,
            **traces.context_of(delivery.trace_id),
        },
    )
