"""Tell the agent what has become of the actions that it asked for in earlier turns.

Without it the agent confirms an order a second time, or asks for what the customer has given.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mirt.store.shop.turns import Said
from mirt.texts import asked_for

ORDER_TOOL: Final = "create_order"
MOST_NOTES: Final = 5


def notes_of(history: Sequence[Said]) -> list[str]:
    """Return the notes on the actions of these lines, the latest last, each once."""
    notes = [note for line in history for action in line.actions for note in _notes(action)]
    return list(dict.fromkeys(reversed(notes)))[:MOST_NOTES][::-1]


def _notes(action: Mapping[str, Any]) -> Iterator[str]:
    items = action.get("items")
    if items and action.get("approval"):
        yield (
            f"Замовлення чекає на підтвердження колеги: {'; '.join(items)}. Не оформлюй його "
            "вдруге і не обіцяй, що його прийнято."
        )
    elif items:
        yield (
            f"Передано в оформлення замовлення: {'; '.join(items)}. Не оформлюй його вдруге. Якщо "
            "покупець хоче щось у ньому змінити, пообіцяй передати це колегам."
        )
    elif action.get("action") == ORDER_TOOL and (wrong := action.get("wrong")):
        if asked_for(wrong):
            yield (
                f"Замовлення не оформлено: бракує або не підходить {', '.join(wrong)}. Решту вже "
                "названо, не питай про неї вдруге."
            )
        else:
            yield "Замовлення не вдалося оформити; колеги про це знають."
    elif action.get("action") == ORDER_TOOL and action.get("refused"):
        yield "Ще одне замовлення не оформлено: за раз лише одне. Якщо покупець просить, оформи."
