"""The pieces of work that are interrupted: their preparation, and the steps of each."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import text

from mirt.clock import utc_now
from mirt.store.queue import outbox
from mirt.store.queue.tasks import TaskMessage
from mirt.task_names import TaskName
from tests.interleavings.stage import Stage
from tests.unit.business import conversations_of, mail
from tests.unit.orders.examples import order

CHAT: Final = "7"
PARTS: Final = ("a" * 4000, "b" * 4000)
AGREED: Final = {name: order()[name] for name in ("customer", "items")}


@dataclass(frozen=True, slots=True)
class Work:
    """A piece of work: ``steps`` has the steps of its tasks, in order, with their meaning.

    A process that dies before its next step leaves the same as one that dies right after this one.
    """

    prepare: Callable[[Stage], None]
    steps: Mapping[str, str]


def _prepare_turn(stage: Stage) -> None:
    """Write a message whose reply has two parts and confirms an order, and one behind it."""
    stage.services.llm.reply = lambda _: " ".join(PARTS)
    stage.services.llm.calls = lambda _: [("create_order", json.dumps(AGREED))]
    _write(stage, turn="Так, беру", next="/stop")


def _prepare_followup(stage: Stage) -> None:
    """Let a customer be silent for a day."""
    _write(stage, old="/start")
    stage.finish()
    with stage.database.transaction() as tx:
        tx.execute(
            text("UPDATE conversations SET last_customer_at = last_customer_at - interval '25 h'")
        )
        look = TaskMessage("look", TaskName.CHECK_ALL_SESSIONS_FOR_FOLLOWUPS)
        outbox.add(tx, look, now=utc_now() - timedelta(minutes=1))


def _write(stage: Stage, **messages: str) -> None:
    conversations = conversations_of(stage.database, utc_now)
    for task_id, said in messages.items():
        conversations.accept(mail(task_id, said, chat_id=CHAT))


WORKS: Final = {
    "turn": Work(
        _prepare_turn,
        {
            "process_and_respond: commit 1": "the turn is claimed and opened",
            "process_and_respond: request /chat/completions 1": "the LLM has answered",
            "process_and_respond: commit 2": "reply and order are stored, the first part announced",
            "process_and_respond: request /sendMessage 1": "the first part is sent",
            "process_and_respond: commit 3": "it is counted",
            "process_and_respond: commit 4": "the second part is announced",
            "process_and_respond: request /sendMessage 2": "the second part is sent",
            "process_and_respond: commit 5": "it is counted, and the turn closed",
            "process_and_respond: publish 1": "the next head and the order are published",
            "process_and_respond: acknowledgement 1": "the message is acknowledged",
        },
    ),
    "order": Work(
        _prepare_turn,
        {
            "create_crm_order: commit 1": "the order is claimed",
            "create_crm_order: commit 2": "it begins",
            "create_crm_order: commit 3": "the request is announced",
            "create_crm_order: request /api/orders 1": "the CRM has created it",
            "create_crm_order: commit 4": "it is stored as created",
            "create_crm_order: commit 5": "the task is done",
            "create_crm_order: acknowledgement 1": "the message is acknowledged",
        },
    ),
    "follow-up": Work(
        _prepare_followup,
        {
            "check_all_sessions_for_followups: commit 1": "the search is claimed",
            "check_all_sessions_for_followups: commit 2": "the follow-up is taken and queued",
            "check_all_sessions_for_followups: publish 1": "the follow-up is published",
            "check_all_sessions_for_followups: commit 3": "the search is done",
            "check_all_sessions_for_followups: acknowledgement 1": "its message is acknowledged",
            "send_followup: commit 1": "the follow-up is claimed",
            "send_followup: commit 2": "it is still wanted, and its delivery stored",
            "send_followup: commit 3": "the request is announced",
            "send_followup: request /sendMessage 1": "the text is sent",
            "send_followup: commit 4": "the delivery is settled",
            "send_followup: commit 5": "the LLM will know the text",
            "send_followup: commit 6": "the task is done",
            "send_followup: acknowledgement 1": "the message is acknowledged",
        },
    ),
}
