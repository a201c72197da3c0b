"""Name an order by its meaning, so that the same order has the same name however it is written.

A model that confirms an order again, on the customer's "thank you", writes its values anew: 499.0
for 499, another case, another sequence of the items, a default that was left out before. These are
one order. Another product, size, color, quantity or price, or another person, is another one. Where
and how the order is sent and paid is not a part of its identity: a customer who corrects the branch
does not want two parcels.
"""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from mirt.orders.order import AgreedOrder, Item

_CENT: Final = Decimal("0.01")
_HOW: Final = ("payment_method", "delivery_method")
_APOSTROPHES: Final = str.maketrans(dict.fromkeys("’ʼ`´‘′", "'"))
_UNITS: Final = frozenset({"см", "cm", "розмір", "р", "size"})
"""Words that a size may come with: ``104 см`` is 104."""


def external_id(order: AgreedOrder, platform: str, session_id: str, day: date) -> str:
    """Return the name of the order of this customer on this day."""
    items = Counter[tuple[str, ...]]()
    for item in order.items:
        items[_kind(item)] += item.quantity
    person = [order.customer.phone, " ".join(sorted(_words(order.customer.full_name)))]
    identity = json.dumps([platform, session_id, person, sorted(items.items())])
    return f"mirt-{day:%Y%m%d}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def external_id_before(name: str) -> str | None:
    """Return the name that the same order has had the day before; None for a name of others."""
    match = re.fullmatch(r"mirt-(\d{8})-([0-9a-f]{16})", name, re.ASCII)
    if match is None:
        return None
    try:
        day = datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC) - timedelta(days=1)
    except (ValueError, OverflowError):
        return None
    return f"mirt-{day:%Y%m%d}-{match[2]}"


def changed_details(before: Mapping[str, Any], order: AgreedOrder) -> list[str]:
    """Return the details of an order that are not its identity, and that are named anew."""
    after = order.model_dump(mode="json")
    return [
        name
        for name in ("customer.city", "customer.nova_poshta_branch", *_HOW)
        if (new := _at(after, name)) and _words(new) != _words(_at(before, name) or "")
    ]


def _at(data: Mapping[str, Any], name: str) -> str | None:
    part, _, rest = name.partition(".")
    value = data.get(part)
    if rest:
        return _at(value, rest) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else None


def _kind(item: Item) -> tuple[str, ...]:
    size = [word for word in _words(item.size) if word not in _UNITS] or _words(item.size)
    return (
        *(" ".join(_words(text)) for text in (item.product_id, item.product_name, item.color)),
        " ".join(size),
        str(item.price.quantize(_CENT)),
    )


def _words(text: str) -> list[str]:
    """Return the words of a text in one case and one form of Unicode, without punctuation."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)
    return re.findall(r"[\w']+", plain) or [plain]
