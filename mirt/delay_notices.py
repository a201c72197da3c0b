"""Tell a customer, once, that the answer takes longer than DELAY_NOTICE_SECONDS."""

from typing import Any

from mirt.clock import Clock
from mirt.deliveries import Deliveries
from mirt.store.engine.database import Database
from mirt.store.queue import leases
from mirt.store.queue.leases import Lease
from mirt.store.shop import mailbox
from mirt.store.shop.deliveries import Delivery, DeliveryState, add_delivery, find_delivery
from mirt.store.shop.handovers import handed_over
from mirt.store.shop.mailbox import MailState
from mirt.texts import DELAY_NOTICE


class DelayNotices:
    """The sender of notices. ``Conversations.accept`` queues one for each conversation that waits.

    A notice is a courtesy: after a request of unknown outcome it is not sent again.
    """

    def __init__(self, database: Database, deliveries: Deliveries, clock: Clock) -> None:
        self._database = database
        self._deliveries = deliveries
        self._clock = clock

    def send(
        self, lease: Lease, session_id: str, message: str, *, platform: str, chat_id: str
    ) -> dict[str, Any]:
        """Send the notice if the mail of the task ``message`` still has no answer.

        Return the result of the task: ``sent``, or ``skipped`` with a reason.

        Raises:
            RateLimitError, ExternalServiceError, PermanentError: as ``Deliveries.deliver``.
            LeaseLostError: another worker has the task.
        """
        delivery = Delivery(
            id=lease.task_id,
            session_id=session_id,
            platform=platform,
            chat_id=chat_id,
            text=DELAY_NOTICE,
            trace_id=lease.trace_id,
        )
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            mail = mailbox.find(tx, message)
            begun = find_delivery(tx, delivery.id)
            reason = None
            if mail is None or mail.state is not MailState.WAITING:
                reason = "answered"
            elif begun is not None and (begun.unknown or begun.state is DeliveryState.SENDING):
                reason = "perhaps_sent"
            elif handed_over(tx, session_id):
                reason = "handed_over"
            else:
                add_delivery(tx, delivery, now=self._clock())
        if reason is None:
            result = self._deliveries.deliver(lease, delivery.id)
            if result["status"] == DeliveryState.UNREACHABLE:
                reason = "unreachable"
            elif result["status"] == DeliveryState.WITHHELD:
                reason = "handed_over"
        if reason is not None:
            return {"status": "skipped", "session_id": session_id, "reason": reason}
        return {"status": "sent", "session_id": session_id}
