"""Define the scenes of ``mirt demo``: messages of a customer, and one order in three spellings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

CHAT: Final = 1001


@dataclass(frozen=True, slots=True)
class Scene:
    """Messages of one customer as the Bot API has them; ``together`` ones are one answer."""

    title: str
    messages: Sequence[Mapping[str, Any]]
    together: bool = False


def _photo(number: int, **beside: str) -> dict[str, Any]:
    return {"media_group_id": "album", "photo": [{"file_id": f"photo-{number}"}], **beside}


SCENES: Final = (
    Scene(
        "a conversation",
        [
            {"text": text}
            for text in ("Привіт! 👋", "Скільки коштує сукня на 5 років?", "Дякую, беру 💛")
        ],
    ),
    Scene(
        "a contact card instead of a phone number",
        [{"contact": {"phone_number": "+380501112233", "first_name": "Оля", "user_id": CHAT}}],
    ),
    Scene("a voice message", [{"voice": {"file_id": "voice", "duration": 4}}]),
    Scene(
        "an album of two photos",
        [_photo(1, caption="Є такі?"), _photo(2)],
        together=True,
    ),
)
_ORDERS: Final = (
    ("050 111 22 33", "499", "1", "5", "Коваль Олена"),
    ("+380 (50) 111-22-33", 499.0, 1, 5, "Олена  Коваль"),
    ("80501112233", "499.00", 1.0, "5", "ОЛЕНА КОВАЛЬ"),
)
"""One order in three spellings: phone, price, quantity, branch and name."""


def order_names(today: date) -> list[tuple[str, str]]:
    """Return each spelling of the order, and the name that the CRM would get with it."""
    from mirt.orders.identity import external_id
    from mirt.orders.order import AGREED_SCHEMA, read_agreed_order
    from mirt.turns.arguments import understand

    found = []
    for phone, price, quantity, branch, name in _ORDERS:
        item = {"product_id": "p1", "product_name": "Сукня", "size": "104", "color": "синя"}
        written = {
            "customer": {
                "full_name": name,
                "phone": phone,
                "city": "Київ",
                "nova_poshta_branch": branch,
            },
            "items": [{**item, "price": price, "quantity": quantity}],
        }
        order = read_agreed_order(understand(written, AGREED_SCHEMA))
        spelled = f"{name}, {phone}, {quantity} × {price}"
        found.append((spelled, external_id(order, "telegram", str(CHAT), today)))
    return found
