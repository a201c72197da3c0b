"""What becomes of a turn that was not answered: it failed for good, was removed, or comes back.

A turn that fails for good owes the customer one apology. It takes the turn's place as the head, so
that it comes before the reply to any later message.
"""

from sqlalchemy import Connection

from mirt.clock import Clock
from mirt.conversations import Conversations
from mirt.observe import traces
from mirt.store.queue import outbox
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop import mailbox
from mirt.store.shop.deliveries import (
    Delivery,
    DeliveryState,
    abandon_delivery,
    add_delivery,
    find_delivery,
    reopen_delivery,
)
from mirt.store.shop.mailbox import Mail, MailState
from mirt.task_names import TaskName
from mirt.texts import APOLOGY


class FailedTurns:
    """Settles turns in the transactions of others: who writes their dead letters, or takes them."""

    def __init__(self, conversations: Conversations, clock: Clock) -> None:
        self._conversations = conversations
        self._clock = clock

    def failed(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Settle a turn that has failed for good, in the transaction that writes its dead letter.

        The customer is owed an apology, unless the channel has refused the reply or a part of it
        was sent; if there is nothing to say, or nobody to say it to, the turn passes on.
        """
        now = self._clock()
        mail, said = mailbox.find(tx, task_id), find_delivery(tx, task_id)
        abandon_delivery(tx, task_id, now=now)
        if mail is None:
            return self._pass_on(tx, said.session_id, task_id) if said else []
        mailbox.settle(tx, turn_id=task_id, task_id=task_id, state=MailState.FAILED, now=now)
        is_head = mailbox.lock_head(tx, mail.session_id) == task_id
        if (
            is_head
            and mail.chat_id
            and mail.actor == TaskName.PROCESS_AND_RESPOND
            and _is_apology_due(said)
        ):
            owed = delivery_to(mail, f"{task_id}:apology", APOLOGY)
            apology = send_response_task(owed)
            # A turn that was replayed and has failed again has apologised already.
            if outbox.add(tx, apology, now=now):
                mailbox.set_head(tx, mail.session_id, apology.task_id)
                add_delivery(tx, owed, now=now)
                return [apology]
        return self._pass_on(tx, mail.session_id, task_id)

    def purged(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Settle a turn that an operator has removed, and all that waits behind it.

        Nobody is told: a replay of its dead letter makes all of them wait again.
        """
        now = self._clock()
        mail, said = mailbox.find(tx, task_id), find_delivery(tx, task_id)
        abandon_delivery(tx, task_id, now=now)
        if mail is None:
            return self._pass_on(tx, said.session_id, task_id) if said else []
        if mailbox.lock_head(tx, mail.session_id) == task_id:
            waiting = mailbox.waiting_mail(tx, mail.session_id, limit=None)
            mailbox.assign_to_turn(tx, [one.id for one in waiting], turn_id=task_id)
            mailbox.set_head(tx, mail.session_id, None)
        mailbox.settle(tx, turn_id=task_id, task_id=task_id, state=MailState.FAILED, now=now)
        return []

    def reopened(self, tx: Connection, task_id: str) -> bool:
        """Make a turn that has failed possible again; whether it is its turn now.

        If the agent had answered, only the delivery is tried again. Otherwise its messages wait
        again, before those that came after them, and the turn begins when it is their turn. What
        had waited behind it and was removed with it waits again too.
        """
        reopen_delivery(tx, task_id)
        mail = mailbox.find(tx, task_id)
        if mail is None:
            return True
        head = mailbox.lock_head(tx, mail.session_id)
        mailbox.reopen(tx, task_id)
        if head is None:
            mailbox.set_head(tx, mail.session_id, task_id)
        return head is None or mail.state is not MailState.FAILED

    def _pass_on(self, tx: Connection, session_id: str, task_id: str) -> list[TaskMessage]:
        following = self._conversations.promote_next(
            tx, session_id, after=task_id, now=self._clock()
        )
        return [following] if following else []


def delivery_to(mail: Mail, delivery_id: str, text: str) -> Delivery:
    """A text for whoever wrote this message."""
    return Delivery(
        id=delivery_id,
        session_id=mail.session_id,
        platform=mail.platform,
        chat_id=mail.chat_id or mail.session_id,
        text=text,
        trace_id=mail.trace_id,
    )


def send_response_task(delivery: Delivery) -> TaskMessage:
    """The task that brings a text which is already known, under the delivery's own id."""
    return TaskMessage(
        task_id=delivery.id,
        actor=TaskName.SEND_RESPONSE,
        kwargs={
            "platform": delivery.platform,
            "chat_id": delivery.chat_id,
            "response_text": delivery.text,
        },
        options={
            "trace_id": delivery.trace_id,
            "session_id": delivery.session_id,
            **traces.context_of(delivery.trace_id),
        },
    )


def _is_apology_due(said: Delivery | None) -> bool:
    return said is None or (said.parts_sent == 0 and said.state is not DeliveryState.FAILED)
