"""An operator groups dead letters, finds one by an argument, corrects it and replays it."""

import json
from collections.abc import Callable, Sequence

import pytest

from actors.crm import create_crm_order
from actors.messages import send_response
from mirt.clock import utc_now
from mirt.errors import PermanentError
from mirt.runtime import current_runtime
from mirt.store.queue.dead_letters import DeadLetterFilter
from mirt.store.tables import audit, dead_letters
from service.admin import dead_letters as admin
from service.admin.edited_replays import read_arguments, replay_with
from service.dispatcher import dispatch_message
from tests.fakes import FakeServices, Status
from tests.fakes.telegram import refusal
from tests.integration.conftest import Running, rows
from tests.polling import wait_until
from tests.unit.orders.examples import order

Run = Callable[..., Running]


@pytest.fixture(params=["rabbitmq", "embedded"])
def running(run: Run, services: FakeServices, request: pytest.FixtureRequest) -> Running:
    return run(request.param, snitkix_api_key="crm-key", snitkix_api_url=services.crm_url)


def dead(count: int = 1) -> Sequence[str]:
    wait_until(lambda: len(rows(dead_letters)) == count)
    return [row.task_id for row in rows(dead_letters)]


def correct(task: str, task_id: str, arguments: object) -> bool:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return replay_with(current_runtime(), task_id, read_arguments(task, text))


def test_a_corrected_order_reaches_the_crm_under_its_name(
    running: Running, services: FakeServices
) -> None:
    services.misbehave("crm", Status(422, {"message": "sku: unknown"}))
    create_crm_order.send(order())
    [task_id] = dead()
    customer = {**order()["customer"], "city": "Київ"}
    assert correct("create_crm_order", task_id, {"order_data": order(customer=customer)})
    wait_until(lambda: services.crm.orders)
    [created] = services.crm.orders
    assert created["external_id"] == "order-1"
    assert created["delivery"]["city"] == "Київ"
    assert rows(dead_letters) == []
    assert "replay with other arguments" in [row.act for row in rows(audit)]


def test_a_corrected_text_is_sent_to_the_corrected_chat(
    running: Running, services: FakeServices
) -> None:
    services.misbehave("telegram", refusal(400, "Bad Request: chat not found"), chat=70)
    send_response.send("telegram", "70", "Вітаю")
    [task_id] = dead()
    arguments = {"platform": "telegram", "chat_id": "7", "response_text": "Вітаємо"}
    assert correct("send_response", task_id, arguments)
    wait_until(lambda: services.sent(7))
    assert services.sent(7) == ["Вітаємо"]
    assert not correct("send_response", task_id, arguments), "there is no dead letter any more"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("{", "no JSON"),
        ("[]", "must be a JSON object"),
        ('{"platform": "telegram"}', "missing a required argument"),
        ('{"platform": "telegram", "chat_id": "7", "response_text": "x", "a": 1}', "'a'"),
        ('{"platform": "telegram", "chat_id": 7, "response_text": "x"}', "chat_id: Input should"),
        ('{"platform": "telegram", "chat_id": "7", "response_text": null}', "response_text:"),
    ],
)
def test_arguments_that_do_not_fit_the_task_are_refused_and_nothing_changes(
    run: Run, services: FakeServices, arguments: str, why: str
) -> None:
    run("embedded")
    services.misbehave("telegram", refusal(400, "Bad Request: chat not found"))
    send_response.send("telegram", "70", "Вітаю")
    [task_id] = dead()
    with pytest.raises(PermanentError) as refused:
        correct("send_response", task_id, arguments)
    assert why in refused.value.message
    assert dead() == [task_id]


def test_an_order_that_is_still_wrong_is_refused_by_its_field(run: Run) -> None:
    run("embedded")
    create_crm_order.send(order(items=[]))
    [task_id] = dead()
    with pytest.raises(PermanentError, match="items"):
        correct("create_crm_order", task_id, {"order_data": order(items=[])})
    assert dead() == [task_id]


def test_a_text_that_may_have_arrived_is_not_replaced_by_another(
    run: Run, services: FakeServices
) -> None:
    run("embedded", retry_base_seconds=0.01)
    services.misbehave("telegram", Status(502), times=1)
    services.misbehave("telegram", refusal(400, "Bad Request: chat not found"))
    send_response.send("telegram", "7", "Вітаю")
    [task_id] = dead()
    arguments = {"platform": "telegram", "chat_id": "7", "response_text": "Інше"}
    with pytest.raises(PermanentError, match="may have been"):
        correct("send_response", task_id, arguments)
    assert dead() == [task_id]


def test_a_customers_message_is_not_rewritten(run: Run, services: FakeServices) -> None:
    run("embedded")
    services.misbehave("llm", Status(400))
    dispatch_message("7", "Є сукня?", "telegram", "7", fire_and_forget=True)
    [task_id] = dead()
    arguments = {
        "session_id": "7",
        "user_message": "Немає",
        "platform": "telegram",
        "chat_id": "7",
    }
    with pytest.raises(PermanentError, match="answered as it was written"):
        correct("process_and_respond", task_id, arguments)
    assert dead() == [task_id]


def test_dead_letters_are_grouped_by_code_task_and_cause_and_replayed_by_group(
    running: Running, services: FakeServices
) -> None:
    services.misbehave("telegram", refusal(400, "Bad Request: chat 1234567 not found"), times=1)
    services.misbehave("telegram", refusal(400, "Bad Request: chat 7654321 not found"), times=2)
    for chat in range(1, 4):
        send_response.send("telegram", str(chat), "Вітаю")
    services.misbehave("crm", Status(422, {"message": "sku: unknown"}))
    create_crm_order.send(order())
    dead(4)
    large, small = admin.groups(current_runtime(), DeadLetterFilter())
    assert (large.count, large.error_code, large.actor) == (3, "CHANNEL_REFUSED", "send_response")
    assert large.cause == "PermanentError: telegram: 400 Bad Request: chat […] not found"
    assert (small.count, small.error_code) == (1, "CRM_REJECTED")
    assert large.first_at <= large.last_at
    which = admin.parse_filter({"code": large.error_code, "cause": large.cause}, utc_now())
    assert admin.replay(current_runtime(), which) == 3
    wait_until(lambda: len(rows(dead_letters)) == 1)


def test_dead_letters_are_found_by_a_text_in_their_arguments(
    running: Running, services: FakeServices
) -> None:
    services.misbehave("telegram", refusal(400, "Bad Request"), times=None)
    for chat, text in ((1, "знижка 50%"), (2, "знижка 500"), (3, "Олена_К")):
        send_response.send("telegram", str(chat), text)
    dead(3)

    def found(text: str) -> int:
        which = admin.parse_filter({"argument": text}, utc_now())
        return admin.find(current_runtime(), which, limit=9).total

    assert found("знижка") == 2
    assert found("50%") == 1
    assert found("Олена_К") == 1
    assert found("Олена-К") == 0
