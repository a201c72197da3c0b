"""Arguments of a neighbouring type mean what they mean; everything else stays wrong."""

from collections.abc import Mapping
from typing import Any

import pytest

from mirt.llm import Number
from mirt.turns.actions import MARKS, ORDER
from mirt.turns.arguments import understand
from tests.unit.orders.examples import order

ITEM = order()["items"][0]
CUSTOMER = order()["customer"]


def item(**changes: Any) -> dict[str, Any]:
    return {"customer": CUSTOMER, "items": [{**ITEM, **changes}]}


def customer(**changes: Any) -> dict[str, Any]:
    return {"customer": {**CUSTOMER, **changes}, "items": [ITEM]}


def read(arguments: Mapping[str, Any], *path: str | int) -> Any:
    """The value at this path of an order; ``absent`` if there is none."""
    found: Any = understand(arguments, ORDER.parameters)
    for step in path:
        if isinstance(found, dict) and step not in found:
            return "absent"
        found = found[step]
    return found


@pytest.mark.parametrize(
    ("field", "written", "meant"),
    [
        ("nova_poshta_branch", 7, "7"),
        ("nova_poshta_branch", 7.0, "7"),
        ("nova_poshta_branch", "", "absent"),
        ("nova_poshta_branch", "  ", "absent"),
        ("nova_poshta_branch", None, "absent"),
        ("nova_poshta_branch", "null", "absent"),
        ("nova_poshta_branch", ["7"], "7"),
        ("phone", 380501234567, "380501234567"),
        ("phone", Number("380501234567.0"), "380501234567"),
        ("full_name", "", ""),
        ("city", None, None),
        ("telegram_id", 42, "42"),
    ],
)
def test_a_field_of_the_customer_is_a_text(field: str, written: Any, meant: Any) -> None:
    assert read(customer(**{field: written}), "customer", field) == meant


@pytest.mark.parametrize(
    ("field", "written", "meant"),
    [
        ("quantity", "2", 2),
        ("quantity", " 2 ", 2),
        ("quantity", 2.0, 2),
        ("quantity", Number("2.0"), 2),
        ("quantity", "2.0", 2),
        ("quantity", None, "absent"),
        ("quantity", "", ""),
        ("quantity", 1.5, 1.5),
        ("quantity", "1.5", "1.5"),
        ("quantity", 0, 0),
        ("quantity", True, True),
        ("quantity", "дві", "дві"),
        ("quantity", "9" * 5000, "9" * 5000),
        ("size", 104, "104"),
        ("size", 104.0, "104"),
        ("size", Number("104.0"), "104"),
        ("size", 39.5, "39.5"),
        ("size", True, True),
        ("color", ["синя"], "синя"),
        ("product_name", 7, "7"),
        ("product_id", 12, "12"),
        ("sku", "", "absent"),
        ("price", 499, 499),
        ("price", "499 грн", "499 грн"),
        ("price", "1 499,00", "1 499,00"),
        ("price", Number("499.90"), "499.90"),
    ],
)
def test_a_field_of_an_item_is_of_its_type(field: str, written: Any, meant: Any) -> None:
    assert read(item(**{field: written}), "items", 0, field) == meant


@pytest.mark.parametrize("field", ["payment_method", "delivery_method"])
@pytest.mark.parametrize("written", ["", None, "none", "-"])
def test_an_empty_optional_text_of_an_order_is_absent(field: str, written: Any) -> None:
    assert read({**item(), field: written}, field) == "absent"


@pytest.mark.parametrize(
    "written",
    [
        {"customer": CUSTOMER, "items": ITEM},
        {"customer": '{"full_name": "Олена Коваль", "phone": "050 123 45 67", "city": "Львів", '
         '"nova_poshta_branch": "Відділення 7"}', "items": [ITEM]},
        {"order": {"customer": CUSTOMER, "items": [ITEM]}},
        {"order_data": {"customer": CUSTOMER, "items": [ITEM]}},
        {"Customer": CUSTOMER, "Items": [ITEM]},
    ],
)  # fmt: skip
def test_an_order_in_another_frame_is_the_same(written: Any) -> None:
    assert understand(written, ORDER.parameters) == {"customer": CUSTOMER, "items": [ITEM]}


def test_a_name_in_another_case_is_the_same_field() -> None:
    written = {**CUSTOMER, "fullName": CUSTOMER["full_name"]}
    del written["full_name"]
    assert read({"customer": written, "items": [ITEM]}, "customer") == CUSTOMER


@pytest.mark.parametrize("written", [7, "кілька", None, ["a", "b"], {"a": 1}])
def test_something_else_stays_for_validation_to_refuse(written: Any) -> None:
    read_back = understand({"customer": written, "items": written}, ORDER.parameters)
    assert read_back["customer"] == written


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"fields": {"height": 104}}, {"fields": {"height": "104"}}),
        ({"fields": {"height": 104.0}}, {"fields": {"height": "104"}}),
        ({"fields": {"weight": 17.5}}, {"fields": {"weight": "17.5"}}),
        ({"fields": {"is_vip": True}}, {"fields": {"is_vip": "true"}}),
        ({"fields": {"sizes": [104, 110]}}, {"fields": {"sizes": "104, 110"}}),
        ({"fields": {"height": None, "age": 4}}, {"fields": {"age": "4"}}),
        ({"fields": '{"height": "104"}'}, {"fields": {"height": "104"}}),
        ({"fields": [{"name": "height", "value": 104}]}, {"fields": {"height": "104"}}),
        ({"fields": {"name": "height", "value": "104"}}, {"fields": {"height": "104"}}),
        ({"fields": {"name": "Оля"}}, {"fields": {"name": "Оля"}}),
        ({"fields": [{"height": 104}, {"age": 4}]}, {"fields": {"height": "104", "age": "4"}}),
        ({"fields": "зріст 104"}, {"fields": "зріст 104"}),
        ({"fields": ["зріст"]}, {"fields": ["зріст"]}),
        ({"fields": None}, {}),
        ({"add_tags": "vip"}, {"add_tags": ["vip"]}),
        ({"add_tags": "vip, opt"}, {"add_tags": ["vip", "opt"]}),
        ({"add_tags": '["vip"]'}, {"add_tags": ["vip"]}),
        ({"add_tags": 104}, {"add_tags": ["104"]}),
        ({"add_tags": ["vip", "", None, 7]}, {"add_tags": ["vip", "7"]}),
        ({"add_tags": ["vip", True, {}]}, {"add_tags": ["vip", True, {}]}),
        ({"remove_tags": None, "add_tags": ["vip"]}, {"add_tags": ["vip"]}),
        ({"removeTags": ["vip"]}, {"remove_tags": ["vip"]}),
    ],
)
def test_marks_in_a_neighbouring_type_are_remembered(written: Any, meant: Any) -> None:
    assert understand(written, MARKS.parameters) == meant
