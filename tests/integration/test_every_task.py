"""Each task, sent by hand and through its dispatcher, on each transport, returns what it says."""

from collections.abc import Callable
from typing import Any

import pytest

from actors.crm import create_crm_order, sync_order_status
from actors.followups import check_all_sessions_for_followups, schedule_followup, send_followup
from actors.health import ping, worker_health_check
from actors.housekeeping import remove_old_rows, sweep_mailboxes
from actors.messages import mark_customer, process_and_respond, process_message, send_response
from actors.summarization import check_all_sessions_for_summarization, summarize_session
from broker.task import registry
from middleware.policy import TASKS
from mirt.runtime import current_runtime
from mirt.store.shop import mailbox
from mirt.texts import FOLLOWUP_TEXTS, GREETING
from service import dispatcher
from tests.fakes import FakeServices
from tests.integration.conftest import TRANSPORTS, Running
from tests.polling import wait_until
from tests.unit.orders.examples import order

SET_UP = {"snitkix_api_key": "crm-key", "OPS_TOKEN": "ops"}


def result_of(message: Any) -> Any:
    """Return the result of a task, as its sender gets it."""
    backend = registry.broker.get_results_backend()
    return message.get_result(backend=backend, block=True, timeout=20_000)


@pytest.fixture(params=TRANSPORTS)
def served(
    run: Callable[..., Running], services: FakeServices, request: pytest.FixtureRequest
) -> FakeServices:
    run(request.param, snitkix_api_url=services.crm_url, **SET_UP)
    return services


def test_every_task_that_is_sent_returns_what_it_says(served: FakeServices) -> None:
    told: dict[str, Any] = {}

    def tell(message: Any) -> Any:
        told[message.actor_name] = (message.message_id, result_of(message))
        return told[message.actor_name][1]

    success = {"status": "success", "platform": "telegram", "chat_id": "42", "session_id": "42"}
    reply = {"response": "echo: Є сукня?", "response_length": 14}
    sent = {"status": "sent", "platform": "telegram", "chat_id": "42", "parts": 1}
    assert tell(process_message.send("42", "Є сукня?", chat_id="42")) == {**success, **reply}
    respond = process_and_respond.send("42", "І шапка?", "telegram", "42", "7", "5", {})
    assert tell(respond) == {
        **success,
        "response": "echo: І шапка?",
        "response_length": 14,
        "delivery": sent,
    }
    assert tell(send_response.send("telegram", "42", "Ваше замовлення вже їде")) == sent
    assert tell(mark_customer.send("telegram", "42"))["status"] == "skipped"
    assert tell(send_followup.send("42")) == {
        "status": "sent",
        "session_id": "42",
        "content": FOLLOWUP_TEXTS[0],
        "tags": ["followup_1"],
        "channel": "telegram",
    }
    planned = schedule_followup.send("42", 48)
    assert tell(planned) == {
        "status": "scheduled",
        "session_id": "42",
        "task_id": f"{planned.message_id}:followup",
        "delay_hours": 48,
    }
    assert tell(check_all_sessions_for_followups.send()) == {"status": "ok", "queued": 0}
    assert tell(check_all_sessions_for_summarization.send()) == {"status": "ok", "queued": 0}
    summary = tell(summarize_session.send("42"))
    assert summary == {
        "status": "summarized",
        "session_id": "42",
        "summary_length": summary["summary_length"],
    }
    assert summary["summary_length"] > 0
    assert tell(summarize_session.send("42")) == {
        "status": "skipped",
        "session_id": "42",
        "reason": "nothing_new",
    }
    created = {"status": "created", "order_id": "crm-1", "external_id": "order-1"}
    assert tell(create_crm_order.send(order())) == created
    assert tell(sync_order_status.send("crm-1", "42")) == {
        "status": "synced",
        "order_id": "crm-1",
        "order_status": "new",
        "session_id": "42",
    }
    ponged = tell(ping.send())
    assert ponged.keys() == {"pong", "timestamp", "task_id", "worker_id"}
    assert (ponged["pong"], ponged["task_id"]) == (True, told["ping"][0])
    health = tell(worker_health_check.send())
    assert health.keys() == {"status", "timestamp", "worker_id", "checks"}
    assert (health["status"], health["checks"].keys()) == (
        "healthy",
        {"redis", "database", "rabbitmq"},
    )
    assert tell(sweep_mailboxes.send())["status"] == "ok"
    assert tell(remove_old_rows.send())["status"] == "ok"
    assert told.keys() == TASKS.keys()
    assert served.sent("42") == ["echo: І шапка?", "Ваше замовлення вже їде", FOLLOWUP_TEXTS[0]]


def test_every_dispatcher_returns_what_it_says_and_its_work_is_done(served: FakeServices) -> None:
    kept = dispatcher.dispatch_message("42", "/start", chat_id="42", fire_and_forget=True)
    assert kept == {
        "queued": True,
        "task_id": kept["task_id"],
        "trace_id": kept["trace_id"],
        "mode": "fire_and_forget",
        "duplicate": False,
    }
    wait_until(lambda: served.sent("42") == [GREETING])
    waited = dispatcher.dispatch_message("42", "Є сукня?", chat_id="42", wait=True)
    assert (waited["mode"], waited["result"]["response"]) == ("async", "echo: Є сукня?")
    wait_until(is_idle)

    planned = dispatcher.schedule_followup("42", 0)
    assert planned == {"scheduled": True, "task_id": planned["task_id"], "delay_hours": 0}
    registry.broker.publish_due()
    wait_until(lambda: served.sent("42")[1:] == [FOLLOWUP_TEXTS[0]])
    dispatched = [
        dispatcher.dispatch_followup("42"),
        dispatcher.dispatch_crm_order(order()),
        dispatcher.dispatch_summarization("42"),
    ]
    assert all(one == {"queued": True, "task_id": one["task_id"]} for one in dispatched)
    wait_until(lambda: served.sent("42")[2:] == [FOLLOWUP_TEXTS[1]])
    wait_until(lambda: [one["external_id"] for one in served.crm.orders] == ["order-1"])
    wait_until(lambda: summary() is not None)


def is_idle() -> bool:
    with current_runtime().database.transaction() as tx:
        return mailbox.lock_head(tx, "42") is None


def summary() -> str | None:
    with current_runtime().database.transaction() as tx:
        found: str | None = tx.exec_driver_sql("SELECT summary FROM conversations").scalar_one()
        return found
