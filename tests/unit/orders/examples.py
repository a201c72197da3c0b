"""Orders to change a little."""

from typing import Any


def order(**changes: Any) -> dict[str, Any]:
    """An order that nothing is wrong with."""
    return {
        "external_id": "order-1",
        "customer": {
            "full_name": "Олена Коваль",
            "phone": "050 123 45 67",
            "city": "Львів",
            "nova_poshta_branch": "Відділення 7",
        },
        "items": [
            {
                "product_id": "p-1",
                "product_name": "Сукня",
                "size": "110",
                "color": "синій",
                "price": "499.90",
                "quantity": 2,
            }
        ],
        "source": "telegram",
        "source_id": "42",
        **changes,
    }
