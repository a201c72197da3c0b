"""Limit what the agent can cause: orders and marks.

Whatever the LLM returns is what a customer may have talked it into. So its calls are limited in
amount, and by names that the shop allows. An order that is larger than usual, or one too many in a
day, waits for a person (``mirt.store.shop.order_approvals``); every other call beyond a limit is
refused, and recorded with its reason.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from mirt.llm import Tool
from mirt.observe.printable import printable
from mirt.orders import AgreedOrder

MOST_MARKS: Final = 20
"""Calls of the platform that one marking may cost; at eight a second they take three seconds."""
LONGEST_NAME: Final = 100
LONGEST_VALUE: Final = 500
MOST_NAMED: Final = 10
"""Marks that the record of a turn names as left out."""


class Limit(StrEnum):
    """The limits, as records, logs and metrics name them."""

    ORDERS_PER_TURN = "orders_per_turn"
    ORDERS_PER_DAY = "orders_per_day"
    ORDER_TOTAL = "order_total"
    ORDER_ITEMS = "order_items"
    CALLS_PER_TURN = "calls_per_turn"
    MARKS = "marks"


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """The limits of one shop; 0 is no limit.

    ``tags`` and ``fields`` are the names that the agent may use; None allows every name.
    """

    orders_per_turn: int = 1
    orders_per_day: int = 3
    order_total: Decimal = Decimal(0)
    order_items: int = 0
    tags: Collection[str] | None = None
    fields: Collection[str] | None = None

    def approval_of(self, order: AgreedOrder, *, orders_today: int) -> Limit | None:
        """Return why a person has to confirm the order; None if the CRM may have it at once."""
        if self.orders_per_day and orders_today >= self.orders_per_day:
            return Limit.ORDERS_PER_DAY
        if self.order_total and order.subtotal > self.order_total:
            return Limit.ORDER_TOTAL
        if self.order_items and sum(item.quantity for item in order.items) > self.order_items:
            return Limit.ORDER_ITEMS
        return None

    def tool_of_marks(self, tool: Tool) -> Tool | None:
        """Return the tool with the allowed names in its schema; None if no name is allowed."""
        if self.tags is not None and self.fields is not None and not [*self.tags, *self.fields]:
            return None
        properties = dict(tool.parameters["properties"])
        for name in ("add_tags", "remove_tags"):
            properties[name] = _list_of(properties[name], self.tags)
        properties["fields"] = _object_of(properties["fields"], self.fields)
        return Tool(tool.name, tool.description, {**tool.parameters, "properties": properties})

    def allowed_marks(self, marks: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the marks that may be set, and those that are left out, in words.

        The text of a mark is made printable, since a flow may show it.
        """
        left_out: list[str] = []
        room = MOST_MARKS

        def take(kind: str, name: str, allowed: Collection[str] | None, value: str = "") -> bool:
            nonlocal room
            fits = len(name) <= LONGEST_NAME and len(value) <= LONGEST_VALUE and room > 0
            if not fits or (allowed is not None and name not in allowed):
                left_out.append(f"{kind} {printable(name)[:LONGEST_NAME]}")
                return False
            room -= 1
            return True

        taken = {
            "remove_tags": [t for t in _once(marks["remove_tags"]) if take("tag", t, self.tags)],
            "fields": {
                name: printable(value)
                for name, value in marks["fields"].items()
                if take("field", name, self.fields, value)
            },
            "add_tags": [t for t in _once(marks["add_tags"]) if take("tag", t, self.tags)],
        }
        return taken, left_out


def _once(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(printable(name) for name in names))


def _list_of(schema: Mapping[str, Any], names: Collection[str] | None) -> dict[str, Any]:
    limited = {**schema, "maxItems": MOST_MARKS if names is None else len(names)}
    if names:
        limited["items"] = {"type": "string", "enum": list(names)}
    return limited


def _object_of(schema: Mapping[str, Any], names: Collection[str] | None) -> dict[str, Any]:
    if names is None:
        return {**schema, "maxProperties": MOST_MARKS}
    properties = {name: {"type": "string", "maxLength": LONGEST_VALUE} for name in names}
    return {**schema, "properties": properties, "additionalProperties": False}
