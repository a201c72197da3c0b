"""Actions become tasks, questions to the customer, or failures that can be seen."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from mirt.llm import Action
from mirt.store.shop.mailbox import KeptMail, MailState
from mirt.store.shop.turns import Said
from mirt.task_names import TaskName
from mirt.texts import (
    ORDER_FIELDS,
    ORDER_NOT_TAKEN,
    ORDER_TAKEN,
    PERSON_ASKED,
    RECEIVED,
    UNDERSTOOD,
)
from mirt.turns.actions import Plan, plan
from mirt.turns.notes import ORDER_TOOL
from tests.unit.business import mail
from tests.unit.orders.examples import order

ITEM = order()["items"][0]
CUSTOMER = order()["customer"]
_FIRST = mail("t1")
MAIL = KeptMail(
    **{field.name: getattr(_FIRST, field.name) for field in dataclasses.fields(_FIRST)},
    id=1,
    state=MailState.WAITING,
    turn_id=None,
    received_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
)


def ordered(*, text: str = "Оформила!", **arguments: Any) -> Plan:
    given = {"customer": CUSTOMER, "items": [ITEM], **arguments}
    return plan(text, [Action("create_order", given)], MAIL)


def item(**changes: Any) -> Plan:
    return ordered(items=[{**ITEM, **changes}])


def customer(**changes: Any) -> Plan:
    return ordered(customer={**CUSTOMER, **changes})


def data(planned: Plan) -> dict[str, Any]:
    (task,) = planned.tasks
    assert task.actor == TaskName.CREATE_CRM_ORDER
    return dict(task.kwargs["order_data"])


def asked(*fields: str, times: int = 1) -> list[Said]:
    """Return lines of a history that have asked for these fields of an order."""
    action = {"action": "create_order", "wrong": list(fields)}
    return [Said("user", "Ось"), Said("assistant", "Уточніть", [action])] * times


def with_wrong_phone(history: list[Said], *more: Action) -> Plan:
    given = {"customer": {**CUSTOMER, "phone": "12"}, "items": [ITEM]}
    return plan("Оформила!", [Action("create_order", given), *more], MAIL, history=history)


def test_a_field_that_was_asked_for_twice_is_asked_for_by_a_person() -> None:
    with capture_logs() as logged:
        planned = with_wrong_phone(asked("customer.phone", times=2))
    assert planned.text == PERSON_ASKED
    assert planned.asks_for_person is not None
    assert ORDER_FIELDS["phone"] in planned.asks_for_person
    [task] = planned.tasks
    assert (task.task_id, task.actor) == ("staff:t1:0", TaskName.TELL_STAFF)
    assert planned.record == [
        {"action": "create_order", "wrong": ["customer.phone"], "left_to_person": ["phone"]}
    ]
    assert [line["event"] for line in logged] == ["order_left_to_person"]


@pytest.mark.parametrize(
    "history",
    [
        [],
        asked("customer.phone"),
        asked("customer.city", "customer.full_name", times=5),
        [*asked("customer.phone", times=2), Said("assistant", "Готово", [{"action": ORDER_TOOL}])],
    ],
    ids=["never", "once", "other fields", "before another order"],
)
def test_a_field_that_was_not_asked_for_twice_is_asked_for(history: list[Said]) -> None:
    planned = with_wrong_phone(history)
    assert ORDER_FIELDS["phone"] in planned.text
    assert (planned.tasks, planned.asks_for_person) == ([], None)


def test_a_person_is_called_once_in_a_turn() -> None:
    call = Action("ask_a_person", {"reason": "скарга"})
    planned = with_wrong_phone(asked("customer.phone", times=2), call)
    assert [task.task_id for task in planned.tasks] == ["staff:t1:0"]
    assert planned.text == PERSON_ASKED


def test_an_order_is_a_task_and_the_agents_words_stay() -> None:
    planned = ordered()
    assert planned.text == "Оформила!"
    assert data(planned)["source_id"] == "s"
    assert planned.record == [
        {
            "action": "create_order",
            "task_id": "t1:0",
            "order": data(planned)["external_id"],
            "items": ["Сукня, 110, синій, 2 шт. по 499.90"],
        }
    ]


def test_a_neighbouring_type_does_not_lose_an_order() -> None:
    planned = ordered(
        customer={**CUSTOMER, "nova_poshta_branch": 7, "phone": 380501234567},
        items=[{**ITEM, "quantity": "2", "size": 110, "price": 499.9}],
        payment_method="",
    )
    order_data = data(planned)
    assert order_data["customer"]["nova_poshta_branch"] == "7"
    assert order_data["customer"]["phone"] == "+380501234567"
    assert order_data["items"][0]["quantity"] == 2
    assert order_data["payment_method"] is None


@pytest.mark.parametrize(
    ("planned", "wrong", "asked"),
    [
        (item(quantity=1.5), "items.0.quantity", "кількість"),
        (item(quantity=0), "items.0.quantity", "кількість"),
        (customer(phone="12345"), "customer.phone", "номер телефону"),
        (customer(nova_poshta_branch="x" * 300), "customer.nova_poshta_branch", "відділення"),
        (ordered(payment_method={"a": 1}), "payment_method", "спосіб оплати"),
        (ordered(customer=None), "customer", "номер телефону"),
        (ordered(items=["сукня"]), "items.0", "які речі"),
    ],
)
def test_a_customer_is_asked_for_what_only_the_customer_knows(
    planned: Plan, wrong: str, asked: str
) -> None:
    assert planned.tasks == []
    assert planned.record == [{"action": "create_order", "wrong": [wrong]}]
    assert planned.text.startswith("Щоб оформити замовлення")
    assert asked in planned.text


@pytest.mark.parametrize("price", ["499 грн", "1 499,00", 0, "дорого"])
def test_an_order_that_no_customer_can_be_asked_about_fails_visibly(price: Any) -> None:
    with capture_logs() as lines:
        planned = item(price=price)
    assert (planned.text, planned.tasks) == (ORDER_NOT_TAKEN, [])
    assert planned.record == [{"action": "create_order", "wrong": ["items.0.price"]}]
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("order_not_taken", "warning")
    ]


def test_an_order_that_cannot_be_read_fails_visibly() -> None:
    planned = plan("Оформила!", [Action("create_order", {}, is_readable=False)], MAIL)
    assert (planned.text, planned.tasks) == (ORDER_NOT_TAKEN, [])


def test_marks_of_a_neighbouring_type_are_remembered() -> None:
    marks = {"fields": {"height": 104}, "add_tags": "vip"}
    planned = plan("", [Action("remember_customer", marks)], MAIL)
    (task,) = planned.tasks
    assert (task.kwargs["fields"], task.kwargs["add_tags"]) == ({"height": "104"}, ["vip"])
    assert planned.text == UNDERSTOOD


@pytest.mark.parametrize(
    "action",
    [
        Action("remember_customer", {"fields": "зріст 104"}),
        Action("remember_customer", {}, is_readable=False),
    ],
)
def test_a_customer_is_not_told_that_something_was_noted_if_it_was_not(action: Action) -> None:
    with capture_logs() as lines:
        planned = plan("", [action], MAIL)
    assert (planned.text, planned.tasks) == (RECEIVED, [])
    assert [line["event"] for line in lines] == ["marks_not_understood"]


def test_one_action_that_fails_does_not_lose_the_other() -> None:
    actions = [
        Action("remember_customer", {}, is_readable=False),
        Action("create_order", {"customer": CUSTOMER, "items": [ITEM]}),
    ]
    planned = plan("", actions, MAIL)
    assert [task.actor for task in planned.tasks] == [TaskName.CREATE_CRM_ORDER]
    assert planned.text == ORDER_TAKEN
