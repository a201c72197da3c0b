"""Validate orders, and create each one once in the CRM, even if requests or answers get lost.

Not here: how to call the CRM (``mirt.crm``), and when to try again.
"""

from mirt.orders.identity import external_id
from mirt.orders.order import (
    AGREED_SCHEMA,
    AgreedOrder,
    Item,
    Order,
    OrderProblems,
    read_agreed_order,
    read_order,
)
from mirt.orders.orders import Orders

__all__ = [
    "AGREED_SCHEMA",
    "AgreedOrder",
    "Item",
    "Order",
    "OrderProblems",
    "Orders",
    "external_id",
    "read_agreed_order",
    "read_order",
]
