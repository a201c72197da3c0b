"""Each task, sent by hand and through its dispatcher, on each transport, returns what it says."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any
from unittest.mock import ANY

import pytest
from dramatiq import Message

from actors.crm import create_crm_order, sync_open_orders, sync_order_status
from actors.followups import (
    check_all_sessions_for_followups,
    schedule_followup,
    send_followup,
    set_followups,
)
from actors.handovers import end_handover, tell_staff
from actors.health import check_webhooks, ping, worker_health_check
from actors.housekeeping import remove_old_rows, sweep_mailboxes
from actors.messages import (
    mark_customer,
    process_and_respond,
    process_message,
    send_delay_notice,
    send_response,
)
from actors.summarization import check_all_sessions_for_summarization, summarize_session
from broker.task import registry
from middleware.policy import TASKS
from mirt.runtime import current_runtime
from mirt.store.shop import mailbox
from mirt.store.tables import conversations
from mirt.task_names import TaskName
from mirt.texts import FOLLOWUP_TEXTS, GREETING
from service import dispatcher
from tests.fakes import FakeServices
from tests.integration.conftest import TRANSPORTS, brokers, result_of, rows
from tests.polling import wait_until
from tests.unit.orders.examples import order

SET_UP = {"snitkix_api_key": "crm-key", "OPS_TOKEN": "token-of-the-operators"}


@dataclass(frozen=True)
class Case:
    """A task that was sent, the result that it returns, and the texts that its customer gets."""

    sent: Message[Any]
    result: Mapping[str, Any]
    texts: Sequence[str] = ()


def answered(chat: str) -> None:
    """Let a customer write and get an answer that is not delivered, so that it is no text."""
    result_of(process_message.send(chat, "Є сукня?", chat_id=chat))


def answer(chat: str) -> Case:
    return Case(
        process_message.send(chat, "Є сукня?", chat_id=chat),
        {
            "status": "success",
            "platform": "telegram",
            "chat_id": chat,
            "session_id": chat,
            "response": "echo: Є сукня?",
            "response_length": 14,
        },
    )


def answer_and_deliver(chat: str) -> Case:
    return Case(
        process_and_respond.send(chat, "І шапка?", "telegram", chat, "7", "5", {}),
        {
            "status": "success",
            "platform": "telegram",
            "chat_id": chat,
            "session_id": chat,
            "response": "echo: І шапка?",
            "response_length": 14,
            "delivery": {
                "status": "sent",
                "platform": "telegram",
                "chat_id": chat,
                "parts": 1,
            },
        },
        ["echo: І шапка?"],
    )


def deliver(chat: str) -> Case:
    return Case(
        send_response.send("telegram", chat, "Ваше замовлення вже їде"),
        {"status": "sent", "platform": "telegram", "chat_id": chat, "parts": 1},
        ["Ваше замовлення вже їде"],
    )


def excuse(chat: str) -> Case:
    sent = send_delay_notice.send(chat, "telegram", chat, "a message that was answered")
    return Case(sent, {"status": "skipped", "session_id": chat, "reason": "answered"})


def mark(chat: str) -> Case:
    about = {"platform": "telegram", "chat_id": chat}
    result = {"status": "skipped", **about, "reason": "keeps_no_marks"}
    return Case(mark_customer.send("telegram", chat), result)


def follow_up(chat: str) -> Case:
    answered(chat)
    result = {
        "status": "sent",
        "session_id": chat,
        "content": FOLLOWUP_TEXTS[0],
        "tags": ["followup_1"],
        "channel": "telegram",
    }
    return Case(send_followup.send(chat), result, [FOLLOWUP_TEXTS[0]])


def plan_follow_up(chat: str) -> Case:
    sent = schedule_followup.send(chat, 48)
    task_id = f"{sent.message_id}:followup"
    return Case(
        sent,
        {"status": "scheduled", "session_id": chat, "task_id": task_id, "delay_hours": 48},
    )


def turn_followups_off(chat: str) -> Case:
    answered(chat)
    return Case(
        set_followups.send(chat, wanted=False),
        {"status": "ok", "session_id": chat, "wanted": False},
    )


def sum_up(chat: str) -> Case:
    answered(chat)
    result = {"status": "summarized", "session_id": chat, "summary_length": ANY}
    return Case(summarize_session.send(chat), result)


def create_order(chat: str) -> Case:
    return Case(
        create_crm_order.send(order(external_id=f"order-{chat}", source_id=chat)),
        {"status": "created", "order_id": ANY, "external_id": f"order-{chat}"},
    )


def sync_order(chat: str) -> Case:
    answered(chat)
    order_id = result_of(create_order(chat).sent)["order_id"]
    return Case(
        sync_order_status.send(order_id, chat),
        {"status": "synced", "order_id": order_id, "order_status": "new", "session_id": chat},
    )


def send_ping(_chat: str) -> Case:
    sent = ping.send()
    return Case(
        sent, {"pong": True, "timestamp": ANY, "task_id": sent.message_id, "worker_id": ANY}
    )


def check_health(_chat: str) -> Case:
    return Case(
        worker_health_check.send(),
        {
            "status": "healthy",
            "timestamp": ANY,
            "worker_id": ANY,
            "checks": {"redis": ANY, "database": ANY, "rabbitmq": ANY},
        },
    )


def ask_nobody(chat: str) -> Case:
    answered(chat)
    skipped = {"status": "skipped", "session_id": chat, "reason": "no_staff"}
    return Case(tell_staff.send(chat, "скарга"), skipped)


def end_no_handover(chat: str) -> Case:
    answered(chat)
    skipped = {"status": "skipped", "session_id": chat, "reason": "over"}
    return Case(end_handover.send(chat, "2026-03-01T12:00:00+00:00"), skipped)


NOTHING_DUE = {"status": "ok", "queued": 0}
SWEPT = {"status": "ok", "repaired": 0, "published": ANY}
CASES: dict[TaskName, Callable[[str], Case]] = {
    TaskName.PROCESS_MESSAGE: answer,
    TaskName.PROCESS_AND_RESPOND: answer_and_deliver,
    TaskName.SEND_RESPONSE: deliver,
    TaskName.SEND_DELAY_NOTICE: excuse,
    TaskName.MARK_CUSTOMER: mark,
    TaskName.SEND_FOLLOWUP: follow_up,
    TaskName.SCHEDULE_FOLLOWUP: plan_follow_up,
    TaskName.SET_FOLLOWUPS: turn_followups_off,
    TaskName.CHECK_ALL_SESSIONS_FOR_FOLLOWUPS: lambda _chat: Case(
        check_all_sessions_for_followups.send(), NOTHING_DUE
    ),
    TaskName.CHECK_ALL_SESSIONS_FOR_SUMMARIZATION: lambda _chat: Case(
        check_all_sessions_for_summarization.send(), NOTHING_DUE
    ),
    TaskName.SUMMARIZE_SESSION: sum_up,
    TaskName.CREATE_CRM_ORDER: create_order,
    TaskName.SYNC_ORDER_STATUS: sync_order,
    TaskName.SYNC_OPEN_ORDERS: lambda _chat: Case(
        sync_open_orders.send(), {"status": "ok", "read": ANY, "changed": ANY}
    ),
    TaskName.TELL_STAFF: ask_nobody,
    TaskName.END_HANDOVER: end_no_handover,
    TaskName.PING: send_ping,
    TaskName.WORKER_HEALTH_CHECK: check_health,
    TaskName.CHECK_WEBHOOKS: lambda _chat: Case(
        check_webhooks.send(), {"status": "ok", "checked": 1}
    ),
    TaskName.SWEEP_MAILBOXES: lambda _chat: Case(sweep_mailboxes.send(), SWEPT),
    TaskName.REMOVE_OLD_ROWS: lambda _chat: Case(
        remove_old_rows.send(), {"status": "ok", "removed": ANY}
    ),
}
_chats = count(42)


@pytest.fixture(scope="module", params=TRANSPORTS)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FakeServices]:
    """Serve all tests of this module with one broker of each kind; each test has its own chat."""
    with (
        FakeServices() as services,
        brokers(services, tmp_path_factory.mktemp("served"), request, {}) as start,
    ):
        start(request.param, snitkix_api_url=services.crm_url, **SET_UP)
        yield services


@pytest.fixture
def chat() -> str:
    """Return a chat that no other test uses."""
    return str(next(_chats))


def test_the_cases_are_those_of_all_tasks() -> None:
    assert CASES.keys() == TASKS.keys()


@pytest.mark.parametrize("task", CASES)
def test_each_task_that_is_sent_returns_what_its_page_says(
    served: FakeServices, chat: str, task: TaskName
) -> None:
    case = CASES[task](chat)
    assert case.sent.actor_name == task
    assert result_of(case.sent) == case.result
    assert served.sent(chat) == list(case.texts)


def test_a_summary_without_new_messages_is_skipped(served: FakeServices, chat: str) -> None:
    summary = result_of(sum_up(chat).sent)
    assert summary["summary_length"] > 0
    skipped = {"status": "skipped", "session_id": chat, "reason": "nothing_new"}
    assert result_of(summarize_session.send(chat)) == skipped


def test_every_dispatcher_returns_what_it_says_and_its_work_is_done(
    served: FakeServices, chat: str
) -> None:
    kept = dispatcher.dispatch_message(chat, "/start", chat_id=chat, fire_and_forget=True)
    assert kept == {
        "queued": True,
        "task_id": kept["task_id"],
        "trace_id": kept["trace_id"],
        "mode": "fire_and_forget",
        "duplicate": False,
    }
    wait_until(lambda: served.sent(chat) == [GREETING])
    waited = dispatcher.dispatch_message(chat, "Є сукня?", chat_id=chat, wait=True)
    assert (waited["mode"], waited["result"]["response"]) == ("async", "echo: Є сукня?")
    wait_until(lambda: is_idle(chat))

    planned = dispatcher.schedule_followup(chat, 0)
    assert planned == {"scheduled": True, "task_id": planned["task_id"], "delay_hours": 0}
    registry.broker.publish_due()
    wait_until(lambda: served.sent(chat)[1:] == [FOLLOWUP_TEXTS[0]])
    dispatched = [
        dispatcher.dispatch_followup(chat),
        dispatcher.dispatch_crm_order(order(external_id=f"order-{chat}")),
        dispatcher.dispatch_summarization(chat),
    ]
    assert all(one == {"queued": True, "task_id": one["task_id"]} for one in dispatched)
    wait_until(lambda: served.sent(chat)[2:] == [FOLLOWUP_TEXTS[1]])
    wait_until(lambda: f"order-{chat}" in [one["external_id"] for one in served.crm.orders])
    wait_until(lambda: summary_of(chat) is not None)


def is_idle(chat: str) -> bool:
    with current_runtime().database.transaction() as tx:
        return mailbox.lock_head(tx, chat) is None


def summary_of(chat: str) -> str | None:
    [found] = [row.summary for row in rows(conversations) if row.session_id == chat]
    return str(found) if found is not None else None
