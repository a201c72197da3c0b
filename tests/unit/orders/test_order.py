"""An order is understood exactly, or refused with every wrong field named at once."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirt.errors import ErrorCode
from mirt.orders import AGREED_SCHEMA, OrderProblems, read_order
from mirt.orders.body import crm_body
from tests.unit.orders.examples import order


def fields(**changes: Any) -> list[str]:
    with pytest.raises(OrderProblems) as refused:
        read_order(order(**changes))
    assert refused.value.error_code == ErrorCode.INVALID_INPUT
    return refused.value.fields


def customer(**changes: Any) -> dict[str, Any]:
    return {"customer": {**order()["customer"], **changes}}


def item(**changes: Any) -> dict[str, Any]:
    return {"items": [{**order()["items"][0], **changes}]}


@pytest.mark.parametrize(
    "written",
    [
        "380501234567",
        "+380 (50) 123-45-67",
        "0501234567",
        "050 123 45 67",
        "501234567",
        "050/123/45/67",
        "050 – 123 – 45 – 67",
        "\u202a+380501234567\u202c",
        "80501234567",
        "8 (050) 123-45-67",
        "00380501234567",
        "+38 050 123 45 67",
        "+380 (0)50 123 45 67",
        "+80501234567",
        "+0501234567",
    ],
)
def test_a_phone_is_normalised(written: str) -> None:
    assert read_order(order(**customer(phone=written))).customer.phone == "+380501234567"


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+48 512 345 678", "+48512345678"),
        ("0048512345678", "+48512345678"),
        ("+49 (1512) 3456789", "+4915123456789"),
        ("+1 201 555 0123", "+12015550123"),
    ],
)
def test_a_phone_of_another_country_is_taken_with_its_code(written: str, number: str) -> None:
    assert read_order(order(**customer(phone=written))).customer.phone == number


@pytest.mark.parametrize(
    "written",
    [
        "",
        "12345",
        "0000000000",
        "+380000000000",
        "+48 12",
        "0048",
        "48512345678",
        "1501234567",
        "480501234567",
        "05012345678",
        "050123456x",
        "501234567 дод. 2",
        "٥٠١٢٣٤٥٦٧",
        "дзвоніть",
        None,
        7,
    ],
)
def test_a_number_that_is_no_ukrainian_phone_is_refused(written: Any) -> None:
    assert fields(**customer(phone=written)) == ["customer.phone"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (customer(full_name="О"), "customer.full_name"),
        (customer(full_name="О" * 101), "customer.full_name"),
        (customer(full_name="  О  "), "customer.full_name"),
        (customer(city="К"), "customer.city"),
        (customer(city="К" * 51), "customer.city"),
        ({"items": []}, "items"),
        ({"items": None}, "items"),
        (item(price=0), "items.0.price"),
        (item(price=-1), "items.0.price"),
        (item(price="12.345"), "items.0.price"),
        (item(price="NaN"), "items.0.price"),
        (item(price="Infinity"), "items.0.price"),
        (item(price=float("inf")), "items.0.price"),
        (item(price=True), "items.0.price"),
        (item(price="дорого"), "items.0.price"),
        (item(quantity=0), "items.0.quantity"),
        (item(quantity=1.5), "items.0.quantity"),
        (item(quantity="2"), "items.0.quantity"),
        (item(product_name=" "), "items.0.product_name"),
        ({"external_id": ""}, "external_id"),
        ({"customer": "Оля"}, "customer"),
        (customer(full_name="О\0ля"), "customer.full_name"),
        (customer(telegram_id="4\0"), "customer.telegram_id"),
        (item(color="синій\0"), "items.0.color"),
    ],
)
def test_a_wrong_value_is_refused_by_its_field(changes: dict[str, Any], field: str) -> None:
    assert fields(**changes) == [field]


def test_every_wrong_field_is_named_at_once_and_no_value_is_shown() -> None:
    with pytest.raises(OrderProblems) as refused:
        read_order({"customer": {"full_name": "О", "phone": "77777"}, "items": [{"price": 0}]})
    for field in ("external_id", "customer.phone", "customer.city", "items.0.price"):
        assert f"{field}: " in refused.value.message
    assert "77777" not in refused.value.message


@pytest.mark.parametrize("data", [None, [], "order", 7])
def test_an_order_that_is_no_object_is_refused(data: Any) -> None:
    with pytest.raises(OrderProblems) as refused:
        read_order(data)
    assert refused.value.message == "order_data: Input should be an object"


def test_a_float_is_the_price_that_it_was_written_as() -> None:
    body = crm_body(read_order(order(items=[{**order()["items"][0], "price": 19.99}])))
    assert (body["items"][0]["price"], body["total"]) == (19.99, 39.98)
    assert read_order(order(**item(price=19.99))).items[0].price == Decimal("19.99")


def test_money_is_exact() -> None:
    read = read_order(order(items=[{**order()["items"][0], "price": 0.1, "quantity": 3}]))
    assert read.subtotal == Decimal("0.3")


@given(
    st.lists(
        st.tuples(
            st.decimals("0.01", "99999.99", places=2), st.integers(min_value=1, max_value=50)
        ),
        min_size=1,
        max_size=20,
    )
)
def test_the_total_is_that_of_the_items_to_the_kopiyka(items: list[tuple[Decimal, int]]) -> None:
    template = order()["items"][0]
    data = order(items=[{**template, "price": str(p), "quantity": q} for p, q in items])
    total = sum((price * quantity for price, quantity in items), Decimal(0))
    assert Decimal(str(crm_body(read_order(data))["total"])) == total


def test_quantity_and_sku_reach_the_crm() -> None:
    body = crm_body(read_order(order(**item(quantity=3, sku="DR-110-BL"))))
    assert (body["items"][0]["quantity"], body["items"][0]["sku"]) == (3, "DR-110-BL")


def test_the_crm_is_told_all_that_it_asks_for() -> None:
    assert crm_body(read_order(order())) == {
        "external_id": "order-1",
        "source": "telegram",
        "source_id": "42",
        "customer": {"name": "Олена Коваль", "phone": "+380501234567"},
        "delivery": {"method": "nova_poshta", "city": "Львів", "address": "Відділення 7"},
        "items": [
            {
                "product_id": "p-1",
                "name": "Сукня",
                "size": "110",
                "color": "синій",
                "quantity": 2,
                "price": 499.9,
            }
        ],
        "subtotal": 999.8,
        "discount": 0,
        "delivery_cost": 0,
        "total": 999.8,
        "payment_method": "cash_on_delivery",
        "status": "new",
    }


def test_the_agent_is_told_what_it_has_to_say() -> None:
    assert AGREED_SCHEMA["required"] == ["customer", "items"]
    assert set(AGREED_SCHEMA["$defs"]["Item"]["required"]) == {
        "product_id",
        "product_name",
        "size",
        "color",
        "price",
    }


@pytest.mark.parametrize("text", ["Ol\x1b[31mena", "Оле\u202eна", "Оле\u2028на", "a\x9bb"])
@pytest.mark.parametrize("name", ["full_name", "city", "nova_poshta_branch"])
def test_a_control_character_is_a_wrong_field(name: str, text: str) -> None:
    assert fields(**customer(**{name: text})) == [f"customer.{name}"]


def test_a_text_is_one_line() -> None:
    assert read_order(order(**customer(full_name="Олена\r\n\tКоваль"))).customer.full_name == (
        "Олена Коваль"
    )


@pytest.mark.parametrize("text", ['=HYPERLINK("http://evil")', "+1+1", "-2+3", "@SUM(A1)"])
@pytest.mark.parametrize(
    ("part", "name"), [(customer, "customer.full_name"), (item, "items.0.product_name")]
)
def test_a_text_that_a_spreadsheet_would_compute_is_a_wrong_field(
    part: Any, name: str, text: str
) -> None:
    assert fields(**part(**{name.rpartition(".")[2]: text})) == [name]


def test_the_chat_of_a_group_is_no_formula() -> None:
    assert read_order(order(source_id="-1001234567890")).source_id == "-1001234567890"
