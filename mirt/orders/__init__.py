"""Orders: understood or refused, and then in the CRM once, whatever becomes of the requests.

What may not live here: how the CRM is spoken to (``mirt.crm``), and when anybody tries again.
"""

from mirt.orders.order import AGREED_SCHEMA, Order, OrderProblems, read_agreed_order, read_order
from mirt.orders.orders import Orders

__all__ = [
    "AGREED_SCHEMA",
    "Order",
    "OrderProblems",
    "Orders",
    "read_agreed_order",
    "read_order",
]
