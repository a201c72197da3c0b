"""The same order has the same name, however it is written; another order has another name."""

import unicodedata
from datetime import date
from typing import Any

import pytest

from mirt.orders import external_id, read_agreed_order
from mirt.orders.identity import changed_details, external_id_before
from tests.unit.orders.examples import order

TODAY = date(2026, 3, 1)
ITEM = order()["items"][0]
CUSTOMER = order()["customer"]


def name(**changes: Any) -> str:
    return external_id(read_agreed_order(order(**changes)), "telegram", "42", TODAY)


def item(**changes: Any) -> dict[str, Any]:
    return {"items": [{**ITEM, **changes}]}


def customer(**changes: Any) -> dict[str, Any]:
    return {"customer": {**CUSTOMER, **changes}}


@pytest.mark.parametrize(
    "changes",
    [
        item(price=499.9),
        item(price="499.90"),
        item(product_name="  сукня "),
        item(product_name="«Сукня»"),
        item(color="Синій"),
        item(color=unicodedata.normalize("NFD", "синій")),
        item(size=110),
        item(size="110 см"),
        item(size="розмір 110"),
        item(sku="DR-110"),
        item(product_id="P-1"),
        {"items": [{**ITEM, "quantity": 1}, {**ITEM, "quantity": 1}]},
        customer(full_name="олена  коваль"),
        customer(full_name="Коваль Олена"),
        customer(phone="+380501234567"),
        customer(nova_poshta_branch="7"),
        customer(nova_poshta_branch="Відділення №7"),
        customer(nova_poshta_branch="Відділення 8"),
        customer(nova_poshta_branch=None),
        customer(city="м. Львів"),
        customer(telegram_id="42"),
        {"payment_method": "cash_on_delivery"},
        {"delivery_method": "nova_poshta"},
    ],
)
def test_an_order_that_is_written_otherwise_has_the_same_name(changes: Any) -> None:
    assert name(**changes) == name()


@pytest.mark.parametrize("price", [499, "499", "499.0", "499.00", 499.0])
def test_a_price_has_one_name_in_all_its_spellings(price: Any) -> None:
    assert name(**item(price=price)) == name(**item(price="499"))


def test_an_apostrophe_is_one_in_all_its_forms() -> None:
    names = {name(**customer(full_name=f"Дем{mark}ян Коваль")) for mark in "'’ʼ`"}
    assert len(names) == 1


def test_the_order_of_the_items_does_not_matter() -> None:
    other = {**ITEM, "product_id": "p-2", "product_name": "Кофта"}
    assert name(items=[ITEM, other]) == name(items=[other, ITEM])


@pytest.mark.parametrize(
    "changes",
    [
        item(size="116"),
        item(quantity=3),
        item(color="червоний"),
        item(price="399.90"),
        item(product_id="p-2"),
        item(product_name="Кофта"),
        {"items": [ITEM, {**ITEM, "size": "116"}]},
        customer(phone="0671112233"),
        customer(full_name="Ірина Коваль"),
    ],
)
def test_another_order_has_another_name(changes: Any) -> None:
    assert name(**changes) != name()


def test_an_order_of_another_customer_has_another_name() -> None:
    agreed = read_agreed_order(order())
    names = {
        external_id(agreed, platform, session, TODAY)
        for platform in ("telegram", "manychat")
        for session in ("42", "43")
    }
    assert len(names) == 4


def test_the_name_of_the_day_before_is_known() -> None:
    agreed = read_agreed_order(order())
    before = external_id(agreed, "telegram", "42", date(2026, 2, 28))
    assert external_id_before(name()) == before


@pytest.mark.parametrize("given", ["order-1", "mirt-20261399-0123456789abcdef", "mirt-1", ""])
def test_a_name_that_somebody_else_has_given_has_no_day(given: str) -> None:
    assert external_id_before(given) is None


def test_details_that_differ_from_the_first_order_are_named() -> None:
    before = order(payment_method="cash")
    again = read_agreed_order(order(**customer(nova_poshta_branch="8"), payment_method="CASH"))
    assert changed_details(before, again) == ["customer.nova_poshta_branch"]
    assert changed_details(before, read_agreed_order(order())) == []
