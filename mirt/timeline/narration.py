"""Turn the rows of a conversation into steps with a text for operators."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row

from mirt.channels.notes import unread_kinds
from mirt.clock import format_duration
from mirt.counting import counted
from mirt.store.queue.events import EventKind, TaskEvent
from mirt.store.queue.pauses import paused_subject
from mirt.store.queue.tasks import TaskState
from mirt.store.reports.timeline_rows import Known
from mirt.store.shop.deliveries import DeliveryState
from mirt.store.shop.handovers import Move
from mirt.store.shop.orders import OrderState
from mirt.task_names import TaskName
from mirt.timeline.step import Step, What

UNNOTICED: Final = timedelta(seconds=0.5)
"""Longest wait that is shown without a reason."""


def steps(known: Known, now: datetime) -> Iterator[Step]:
    """Yield all steps that the rows show, unsorted."""
    traces = {row.id: row.trace_id for row in known.tasks}
    heads = {row.task_id: row for row in known.messages}
    services = _services_of(known)
    for row in known.messages:
        yield _received(row)
    for task in known.tasks:
        # It only looks, when a handover may be over; what it does is a move of the handover.
        if task.actor == TaskName.END_HANDOVER:
            continue
        yield from _progress(task, heads.get(task.id), services.get(task.id), now)
    for event in known.events:
        yield _event(event, traces.get(event.task_id))
    with_event = {
        event.task_id for event in known.events if event.kind in {EventKind.DIED, EventKind.PURGED}
    }
    for dead_letter in known.dead:
        if dead_letter.task_id not in with_event:
            yield _rejected(dead_letter)
    for turn in known.turns:
        yield _answered(turn, traces.get(turn.id))
    for delivery in known.deliveries:
        yield from _delivered(delivery)
    for order in known.orders:
        yield _ordered(order)
    for handover in known.handovers:
        yield _handed_over(handover)
    for followup in known.followups:
        text = f"follow-up {followup.number + 1} was queued: the customer is silent"
        yield Step(
            followup.taken_at, What.FOLLOW_UP, text, followup.task_id, traces.get(followup.task_id)
        )


def _received(mail: Row[Any]) -> Step:
    text = "the customer wrote"
    if mail.turn_id and mail.turn_id != mail.task_id:
        text += "; it is answered together with the message before"
    if kinds := unread_kinds(mail.metadata):
        text += f"; it has content that cannot be opened: {', '.join(kinds)}"
    return Step(
        mail.received_at,
        What.WROTE,
        text,
        mail.task_id,
        mail.trace_id,
        private=mail.text,
        details={"state": mail.state, "message_id": mail.message_id},
    )


def _services_of(known: Known) -> dict[str, str]:
    """Return the service that each task calls while it runs, as far as the rows show it."""
    answered = {turn.id for turn in known.turns}
    services = {
        mail.task_id: f"{mail.platform}, which is to take the reply"
        if mail.task_id in answered
        else "the agent"
        for mail in known.messages
    }
    services |= {order.task_id: "the CRM" for order in known.orders}
    deliveries = (delivery for delivery in known.deliveries if delivery.id not in services)
    return services | {delivery.id: delivery.platform for delivery in deliveries}


def _progress(
    task: Row[Any], mail: Row[Any] | None, service: str | None, now: datetime
) -> Iterator[Step]:
    details = {
        "task": task.actor,
        "state": task.state,
        "attempt": task.attempt,
        "worker": task.owner,
    }
    if task.first_started_at is not None:
        yield Step(
            task.first_started_at,
            What.BEGAN,
            f"{task.actor} began",
            task.id,
            task.trace_id,
            waited_for=_waited_for(task, mail),
            details=details,
        )
    if task.state == TaskState.DONE and mail is None and task.error_code is None:
        yield Step(task.finished_at, What.DONE, f"{task.actor} is done", task.id, task.trace_id)
    elif waiting := _waits_for(task, service, now):
        yield Step(
            now,
            What.NOW,
            f"{task.actor} waits for {waiting}",
            task.id,
            task.trace_id,
            waited_for=waiting,
            details=details,
        )


def _waited_for(task: Row[Any], mail: Row[Any] | None) -> str:
    """Return the reason of the wait before the first run of a task."""
    if mail is not None and task.created_at - mail.received_at >= UNNOTICED:
        return "its turn in the conversation"
    # Only the first publication ends a delay; later ones belong to retries.
    if (
        task.publications == 1
        and task.published_at - task.created_at > UNNOTICED
        and task.published_at <= task.first_started_at
    ):
        return "its time" if mail is None else "quiet in the conversation"
    return "a free worker"


def _waits_for(task: Row[Any], service: str | None, now: datetime) -> str | None:
    if task.state == TaskState.QUEUED:
        return "a free worker"
    if task.state == TaskState.DELAYED and task.held_by is not None:
        if (subject := paused_subject(task.held_by)) is not None:
            return f"an operator who resumes it: {subject} is paused"
        held = format_duration((now - task.held_since).total_seconds())
        return f"the end of an outage of {task.held_by}, which has held it for {held}"
    if task.state == TaskState.DELAYED:
        comes_in_s = max(0.0, (task.due_at - now).total_seconds())
        if task.attempt or task.waited_s:
            return f"attempt {task.attempt + 1}, which comes in {comes_in_s:.0f} s"
        return f"its time, which comes in {comes_in_s:.0f} s"
    if task.state == TaskState.RUNNING:
        running_s = (now - task.started_at).total_seconds()
        running = f"it has been running for {format_duration(running_s)} in {task.owner}"
        return f"{service or 'its end'}: {running}"
    return None


def _answered(turn: Row[Any], trace_id: str | None) -> Step:
    tokens = f"{turn.prompt_tokens} + {turn.completion_tokens} tokens"
    return Step(
        turn.answered_at,
        What.ANSWERED,
        f"{turn.model} answered ({tokens}){_limited(turn.actions)}",
        _turn_of(turn.id),
        trace_id,
        waited_for="the agent",
        private=turn.reply,
        details={"actions": turn.actions},
    )


def _limited(actions: Sequence[Mapping[str, Any]]) -> str:
    """Return what of the agent's actions a limit has stopped, in words."""
    stopped = Counter[str]()
    for action in actions or ():
        if limit := action.get("refused"):
            stopped[f"refused {action['action']} ({limit})"] += 1
        if limit := action.get("approval"):
            stopped[f"an order waits for a person ({limit})"] += 1
        if length := action.get("cut_from"):
            stopped[f"its reply of {length:,} characters was cut"] += 1
        if names := action.get("left_out"):
            stopped[f"left out {', '.join(names)}"] += 1
    return "".join(f"; {what}{f' × {n}' if n > 1 else ''}" for what, n in stopped.items())


_NOT_DELIVERED: Final = {
    DeliveryState.FAILED: What.REFUSED,
    DeliveryState.UNREACHABLE: What.UNREACHABLE,
}


def _delivered(delivery: Row[Any]) -> Iterator[Step]:
    where = f"{delivery.platform} {delivery.chat_id}"
    if delivery.said_by is not None:
        text = f"{delivery.said_by} wrote to the customer"
        yield Step(
            delivery.created_at,
            What.SAID,
            text,
            delivery.id,
            delivery.trace_id,
            private=delivery.text,
        )
    if delivery.unknown:
        requests = counted(delivery.unknown, "request")
        text = f"{requests} to {where} may or may not have arrived; sent again"
        yield Step(
            delivery.created_at,
            What.UNKNOWN,
            text,
            delivery.id,
            delivery.trace_id,
            details={"error": delivery.error},
        )
    if delivery.state == DeliveryState.SENT:
        yield Step(
            delivery.finished_at,
            What.DELIVERED,
            f"delivered to {where} in {counted(delivery.parts_sent, 'part')}",
            delivery.id,
            delivery.trace_id,
            waited_for=delivery.platform,
            private=None if delivery.said_by else delivery.text,
        )
    elif delivery.state == DeliveryState.WITHHELD:
        rest = "the rest of the text" if delivery.parts_sent else "the text"
        yield Step(
            delivery.finished_at,
            What.WITHHELD,
            f"{rest} was withheld: a person has the conversation",
            _turn_of(delivery.id),
            delivery.trace_id,
            private=delivery.text,
        )
    elif delivery.state in _NOT_DELIVERED:
        text = f"not delivered to {where}: {delivery.error or 'given up'}"
        if delivery.state == DeliveryState.UNREACHABLE:
            text += "; the customer is unreachable until their next message"
        yield Step(
            delivery.finished_at,
            _NOT_DELIVERED[delivery.state],
            text,
            delivery.id,
            delivery.trace_id,
            waited_for=delivery.platform,
            private=delivery.text,
        )


def _ordered(order: Row[Any]) -> Step:
    name = f"order {order.external_id}"
    text = {
        OrderState.CREATED: f"{name} is {order.crm_order_id} in the CRM ({order.status})",
        OrderState.UNKNOWN: f"{name} may be in the CRM or not: {order.error or 'no answer came'}",
        OrderState.NEEDS_APPROVAL: f"{name} waits for a person to confirm it ({order.error})",
        OrderState.REFUSED: f"{name} was refused by an operator",
        OrderState.REJECTED: f"{name} was refused by the CRM: {order.error}",
        OrderState.FAILED: f"{name} could not be created: {order.error or 'given up'}",
    }.get(order.state, f"{name} is on its way into the CRM")
    if order.unknown:
        text += f"; {counted(order.unknown, 'request')} of unknown outcome, looked up"
    return Step(
        order.updated_at,
        What.ORDER,
        text,
        order.task_id,
        order.trace_id,
        waited_for="the CRM",
        details={"external_id": order.external_id, "state": order.state},
    )


def _turn_of(name: str) -> str:
    """Return the turn of an answer; a withheld one has the id of its turn before its own."""
    return name.partition(":withheld:")[0]


def _handed_over(event: Row[Any]) -> Step:
    text = {
        Move.ASK: "the agent asked for a person",
        Move.TAKE: f"{event.operator} took the conversation over: the bot is silent",
        Move.HAND_BACK: f"{event.operator} handed the conversation back to the bot",
        Move.EXPIRE: "it went back to the bot: no person had done anything for too long",
    }[event.act]
    return Step(event.at, What.HANDOVER, text, f"handover:{event.session_id}", private=event.reason)


def _event(event: TaskEvent, trace_id: str | None) -> Step:
    text = {
        EventKind.RETRIED: f"attempt {event.attempt + 1} failed ({event.code}): {event.why}",
        EventKind.RESTARTED: f"begun again: {event.why}",
        EventKind.UNKNOWN_TASK: "met by a worker whose version does not know it",
        EventKind.DIED: f"dead letter {event.code} after {counted(event.attempt + 1, 'attempt')}: "
        f"{event.why}",
        EventKind.REPLAYED: " ".join(filter(None, ("replayed by an operator", event.why))),
        EventKind.DISCARDED: "its dead letter was discarded by an operator",
        EventKind.PURGED: "removed from its queue by an operator",
        EventKind.CANCELLED: f"cancelled {event.why}: it is not answered or done",
    }[event.kind]
    return Step(
        event.at,
        What(event.kind.value),
        text,
        event.task_id,
        trace_id,
        waited_for=_WAITED_FOR.get(event.kind),
        details={"code": event.code, "until": event.until},
    )


_WAITED_FOR: Final = {
    EventKind.RETRIED: "the attempt",
    EventKind.DIED: "the attempt",
    EventKind.RESTARTED: "the end of a lost lease",
    EventKind.REPLAYED: "an operator",
    EventKind.DISCARDED: "an operator",
}


def _rejected(dead_letter: Row[Any]) -> Step:
    return Step(
        dead_letter.died_at,
        What.DIED,
        f"dead letter {dead_letter.error_code}: {dead_letter.exception}",
        dead_letter.task_id,
        dead_letter.trace_id,
        details={"code": dead_letter.error_code},
    )
