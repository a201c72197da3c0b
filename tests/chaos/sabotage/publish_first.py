"""Enqueue before commit: a reply is on its way before the transaction that stores it has ended.

A wake-up call may come before its row, since who finds none makes it. So here the reply itself is
enqueued, as a task of its own, and a turn that is repeated enqueues it again.
"""

import uuid
from dataclasses import replace
from typing import Any

from broker.task import registry
from mirt.deliveries import Deliveries
from mirt.store.queue.leases import Lease
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop.mailbox import Mail
from mirt.store.shop.turns import Reply
from mirt.task_names import TaskName
from mirt.turns.turn import Turns

_store, _deliver = Turns._store, Deliveries.deliver


def _publish_and_store(self: Turns, lease: Lease, mail: Mail, turn: Any, reply: Reply) -> Any:
    if mail.actor != TaskName.PROCESS_AND_RESPOND:
        return _store(self, lease, mail, turn, reply)
    what = {"platform": mail.platform, "chat_id": mail.chat_id, "response_text": reply.text}
    registry.broker.publish(
        [TaskMessage(f"reply:{uuid.uuid4().hex}", TaskName.SEND_RESPONSE, kwargs=what)]
    )
    return _store(self, lease, replace(mail, actor=TaskName.PROCESS_MESSAGE), turn, reply)


def _deliver_what_is_spoken(self: Deliveries, lease: Lease, delivery_id: str) -> dict[str, Any]:
    # The reply of a turn goes its own way; an apology goes as ever.
    spoken = delivery_id.startswith("reply:") or delivery_id.endswith(":apology")
    return _deliver(self, lease, delivery_id) if spoken else {"status": "enqueued"}


Turns._store = _publish_and_store  # type: ignore[method-assign]
Deliveries.deliver = _deliver_what_is_spoken  # type: ignore[method-assign]
