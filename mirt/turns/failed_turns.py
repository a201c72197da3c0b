"""Settle turns that failed for good, were purged or cancelled, and reopen them for a replay.

A turn that fails for good owes the customer one apology. The apology replaces the turn as the head,
so the customer gets it before the reply to any later message.
"""

from sqlalchemy import Connection

from mirt.clock import Clock
from mirt.conversations import Conversations
from mirt.observe import metrics
from mirt.store.queue import outbox
from mirt.store.queue.dead_letters import find_dead
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
from mirt.store.shop.delivery_task import send_response_task
from mirt.store.shop.handovers import handed_over
from mirt.store.shop.mailbox import Mail, MailState
from mirt.store.shop.turns import reply_to
from mirt.task_names import TaskName
from mirt.texts import OUR_TEXTS, Texts
from mirt.turns.goal import DEFAULT_GOAL, ReplyGoal


class FailedTurns:
    """The failure handler of turns and replies."""

    def __init__(
        self,
        conversations: Conversations,
        clock: Clock,
        texts: Texts = OUR_TEXTS,
        goal: ReplyGoal = DEFAULT_GOAL,
    ) -> None:
        self._conversations = conversations
        self._clock = clock
        self._texts = texts
        self._goal = goal

    def failed(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Settle a turn that has failed for good, in the transaction that writes its dead letter.

        Return the apology as the new head. There is none if the channel has refused the reply, a
        part of it was sent or has an unknown outcome, no chat is known, or a person has the
        conversation. Then the oldest waiting message is the new head.
        """
        now = self._clock()
        mail, reply = mailbox.find(tx, task_id), find_delivery(tx, task_id)
        abandon_delivery(tx, task_id, now=now)
        if mail is None:
            return self._promote_next(tx, reply.session_id, task_id) if reply else []
        mailbox.settle(tx, turn_id=task_id, task_id=task_id, state=MailState.FAILED, now=now)
        self._goal.failed()
        is_head = mailbox.lock_head(tx, mail.session_id) == task_id
        if (
            is_head
            and not handed_over(tx, mail.session_id)
            and mail.chat_id
            and mail.actor == TaskName.PROCESS_AND_RESPOND
            and _is_apology_due(reply)
        ):
            delivery = delivery_to(mail, f"{task_id}:apology", self._texts.apology)
            apology = send_response_task(delivery)
            # False for a turn that fails again after a replay: its customer had the apology before.
            if outbox.add(tx, apology, now=now):
                mailbox.set_head(tx, mail.session_id, apology.task_id)
                add_delivery(tx, delivery, now=now)
                dead_letter = find_dead(tx, task_id)
                metrics.APOLOGIES.inc(code=dead_letter.error_code if dead_letter else "none")
                return [apology]
        return self._promote_next(tx, mail.session_id, task_id)

    def may_continue(self, tx: Connection, task_id: str) -> bool:
        """Whether the reply is stored: then another run only delivers it, which takes seconds."""
        return find_delivery(tx, task_id) is not None or reply_to(tx, task_id) is not None

    def purged(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Settle a turn that an operator has purged, and all mail that waits behind it.

        The customer gets no apology. A replay of the dead letter makes all of the mail wait again.
        """
        now = self._clock()
        mail, reply = mailbox.find(tx, task_id), find_delivery(tx, task_id)
        abandon_delivery(tx, task_id, now=now)
        if mail is None:
            return self._promote_next(tx, reply.session_id, task_id) if reply else []
        if mailbox.lock_head(tx, mail.session_id) == task_id:
            waiting = mailbox.waiting_mail(tx, mail.session_id, limit=None)
            mailbox.assign_to_turn(tx, [one.id for one in waiting], turn_id=task_id)
            mailbox.set_head(tx, mail.session_id, None)
        mailbox.settle(tx, turn_id=task_id, task_id=task_id, state=MailState.FAILED, now=now)
        return []

    def cancelled(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Settle a turn that an operator has cancelled: the conversation goes on without it.

        Its mail is kept as cancelled, and gets no answer and no apology.
        """
        now = self._clock()
        mail, reply = mailbox.find(tx, task_id), find_delivery(tx, task_id)
        abandon_delivery(tx, task_id, now=now)
        if mail is None:
            return self._promote_next(tx, reply.session_id, task_id) if reply else []
        mailbox.settle(tx, turn_id=task_id, task_id=task_id, state=MailState.CANCELLED, now=now)
        return self._promote_next(tx, mail.session_id, task_id)

    def reopened(self, tx: Connection, task_id: str) -> bool:
        """Reopen a failed turn; return whether its task may run now.

        If the agent had answered, only the delivery is tried again. Otherwise the messages of the
        turn wait again, before later ones, and the turn begins when it becomes the head. Mail that
        was purged together with it waits again, too.
        """
        reopen_delivery(tx, task_id)
        mail = mailbox.find(tx, task_id)
        if mail is None:
            return True
        head = mailbox.lock_head(tx, mail.session_id)
        mailbox.reopen(tx, task_id)
        is_free = head is None and not handed_over(tx, mail.session_id)
        if is_free:
            mailbox.set_head(tx, mail.session_id, task_id)
        return is_free or mail.state is not MailState.FAILED

    def _promote_next(self, tx: Connection, session_id: str, task_id: str) -> list[TaskMessage]:
        head = self._conversations.promote_next(tx, session_id, after=task_id, now=self._clock())
        return [head] if head else []


def delivery_to(mail: Mail, delivery_id: str, text: str) -> Delivery:
    """Return the delivery of a text to the customer who wrote this message."""
    reply_to = mail.metadata.get("reply_to")
    return Delivery(
        id=delivery_id,
        session_id=mail.session_id,
        platform=mail.platform,
        chat_id=mail.chat_id or mail.session_id,
        text=text,
        trace_id=mail.trace_id,
        reply_to=reply_to if isinstance(reply_to, str) else None,
    )


def _is_apology_due(reply: Delivery | None) -> bool:
    """Whether the customer surely has no part of the reply, and the channel has not refused it."""
    if reply is None:
        return True
    return reply.state is DeliveryState.PENDING and not (reply.parts_sent or reply.unknown)
