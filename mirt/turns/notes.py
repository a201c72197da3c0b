"""Tell the agent what has become of its actions, and which lines of the history a person wrote.

Without it the agent confirms an order a second time, asks for what the customer has given, or
contradicts a colleague.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mirt.store.shop.turns import Said
from mirt.texts import asked_for

ORDER_TOOL: Final = "create_order"
MOST_NOTES: Final = 5
LONGEST_QUOTE: Final = 60
"""Characters of a person's line by which a note names it."""


def notes_of(history: Sequence[Said]) -> list[str]:
    """Return the notes on the actions of these lines, the latest last, each once.

    The first note says which of the shop's lines a person has written.
    """
    notes = [note for line in history for action in line.actions for note in _notes(action)]
    latest = list(dict.fromkeys(reversed(notes)))[:MOST_NOTES][::-1]
    return [*_said_by_people(history), *latest]


def _said_by_people(history: Sequence[Said]) -> Iterator[str]:
    said = [line for line in history if line.said_by]
    if not said:
        return
    # A user of a machine of ours is ``name@machine``.
    who = (line.said_by.partition("@")[0] for line in said if line.said_by)
    names = ", ".join(dict.fromkeys(who))
    quotes = "; ".join(f"«{_beginning(line.content)}»" for line in said[-MOST_NOTES:])
    yield (
        f"Покупцеві відповідала людина, колега ({names}): {quotes}. Це теж слова магазину: "
        "тримайся того, що вона сказала й пообіцяла, і не відповідай на це вдруге."
    )


def _beginning(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_QUOTE else f"{line[:LONGEST_QUOTE]}…"


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
