"""Build the body of the CRM request that creates an order."""

from decimal import Decimal
from typing import Any, Final

from mirt.orders.order import Item, Order

BY_POST: Final = "nova_poshta"
ON_DELIVERY: Final = "cash_on_delivery"
"""Defaults for an order that names no delivery or payment. The CRM's words are unconfirmed."""


def crm_body(order: Order) -> dict[str, Any]:
    """Return the JSON body of the request that creates the order."""
    customer = order.customer
    subtotal = order.subtotal
    return {
        "external_id": order.external_id,
        "source": order.source,
        "source_id": order.source_id,
        "customer": {"name": customer.full_name, "phone": customer.phone},
        "delivery": {
            "method": order.delivery_method or BY_POST,
            "city": customer.city,
            "address": customer.nova_poshta_branch or "",
        },
        "items": [_item(item) for item in order.items],
        "subtotal": _number(subtotal),
        "discount": 0,
        "delivery_cost": 0,
        "total": _number(subtotal),
        "payment_method": order.payment_method or ON_DELIVERY,
        "status": "new",
    }


def _item(item: Item) -> dict[str, Any]:
    return {
        "product_id": item.product_id,
        **({"sku": item.sku} if item.sku else {}),
        "name": item.product_name,
        "size": item.size,
        "color": item.color,
        "quantity": item.quantity,
        "price": _number(item.price),
    }


def _number(money: Decimal) -> float:
    # JSON has no decimals. The float is only written (499.9 stays 499.9), never computed with.
    return float(money)
