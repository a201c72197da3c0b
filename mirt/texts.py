"""Hold the texts that the service itself sends to customers: MIRT's own, or those of a file.

The constants are MIRT's texts, in Ukrainian. ``read_texts`` reads those of another shop.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

GREETING: Final = "Вітаю! Я допоможу підібрати дитячий одяг. Що шукаєте?"
APOLOGY: Final = (
    "Перепрошуємо, зараз не вдалося відповісти на ваше повідомлення. "
    "Спробуйте, будь ласка, написати ще раз трохи пізніше."
)
DELAY_NOTICE: Final = (
    "Дякуємо, ваше повідомлення отримано. Відповідь трохи затримується, ми обов'язково напишемо."
)
ENOUGH_FOR_TODAY: Final = (
    "Дякую за повідомлення! Далі вам відповість колега. "
    "Якщо відповіді не буде до завтра, напишіть, будь ласка, ще раз."
)
ORDER_TAKEN: Final = "Дякую! Замовлення отримано, невдовзі ми його підтвердимо."
ORDER_NOT_TAKEN: Final = (
    "Перепрошую, зараз не вдалося оформити замовлення. Ми вже перевіряємо його й напишемо вам."
)
ORDER_NEEDS_APPROVAL: Final = (
    "Дякую! Замовлення передано колезі: він перевірить його й підтвердить вам. "
    "До підтвердження воно ще не прийняте."
)
ONE_ORDER_AT_A_TIME: Final = (
    "За один раз можу оформити лише одне замовлення. Про решту напишіть, будь ласка, ще раз."
)
NO_MORE_FOLLOWUPS: Final = (
    "Добре, більше не нагадуватиму про себе. Якщо щось знадобиться, просто напишіть сюди."
)
PERSON_ASKED: Final = "Передаю вашу розмову колезі, він відповість вам тут."
UNDERSTOOD: Final = "Дякую, занотувала."
RECEIVED: Final = "Дякую за повідомлення!"

CANNOT_READ: Final = (
    "Дякую, надійшло: {contents}. На жаль, я не можу цього відкрити. "
    "Напишіть, будь ласка, словами, і я допоможу."
)
ASK_FOR_ORDER: Final = "Щоб оформити замовлення, уточніть, будь ласка: {fields}."
ORDER_FIELDS: Final[Mapping[str, str]] = {
    "customer": "ім'я та прізвище, номер телефону, місто",
    "full_name": "ім'я та прізвище",
    "phone": "номер телефону",
    "city": "місто",
    "nova_poshta_branch": "відділення Нової пошти",
    "payment_method": "спосіб оплати",
    "delivery_method": "спосіб доставки",
    "product_id": "яку саме річ",
    "product_name": "яку саме річ",
    "size": "розмір",
    "color": "колір",
    "quantity": "кількість",
    "items": "які речі замовляєте",
}
"""The fields of an order that a customer can answer for, in words."""
FOLLOWUP_TEXTS: Final = (
    "Вітаю! Нагадую про себе: якщо лишилися запитання щодо розміру, кольору чи доставки — "
    "напишіть, із радістю допоможу.",
    "Доброго дня! Чи актуальний ще для вас вибір одягу? "
    "Напишіть, і ми продовжимо з того місця, де зупинилися.",
    "Вітаю! Якщо зараз не на часі — нічого страшного. "
    "Коли знадобиться дитячий одяг, просто напишіть сюди.",
    "Доброго дня! Можливо, вам зручніше обрати іншу річ чи інший розмір? "
    "Підкажіть, що шукаєте, і я допоможу.",
    "Вітаю! Більше не турбуватиму. Якщо захочете повернутися до вибору, я завжди на зв'язку.",
)
"""Texts of the follow-ups, in order. All differ, so none is repeated in one silence.

The LLM does not write them: a sentence that promises nothing serves a silent customer better than
an invented one.
"""


def asked_for(fields: Iterable[str]) -> list[str]:
    """Return the names of the fields that a customer can answer for, without their path."""
    names = (re.sub(r"\.\d+$", "", field).rpartition(".")[2] for field in fields)
    return [name for name in names if name in ORDER_FIELDS]


FIELDS: Final = "{fields}"
CONTENTS: Final = "{contents}"
_PLACEHOLDERS: Final = {"ask_for_order": FIELDS, "unreadable": CONTENTS}
LONGEST: Final = 8_000
"""Most characters of one text."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one shop.

    ``ask_for_order`` has ``{fields}`` in the place of the missing fields, ``unreadable`` has
    ``{contents}`` in the place of what has arrived. ``summary_prompt`` instructs the LLM; None
    takes the one of ``mirt.llm.prompts``.
    """

    greeting: str = GREETING
    apology: str = APOLOGY
    enough_for_today: str = ENOUGH_FOR_TODAY
    order_taken: str = ORDER_TAKEN
    order_not_taken: str = ORDER_NOT_TAKEN
    order_needs_approval: str = ORDER_NEEDS_APPROVAL
    one_order_at_a_time: str = ONE_ORDER_AT_A_TIME
    person_asked: str = PERSON_ASKED
    understood: str = UNDERSTOOD
    received: str = RECEIVED
    unreadable: str = CANNOT_READ
    no_more_followups: str = NO_MORE_FOLLOWUPS
    ask_for_order: str = ASK_FOR_ORDER
    order_fields: Mapping[str, str] = field(default_factory=lambda: ORDER_FIELDS)
    followups: tuple[str, ...] = FOLLOWUP_TEXTS
    summary_prompt: str | None = None

    def cannot_read(self, labels: Iterable[str]) -> str:
        """Return the sentence for content that cannot be read, like a voice message."""
        return self.unreadable.replace(CONTENTS, ", ".join(labels))

    def missing_from_order(self, missing: Iterable[str]) -> str | None:
        """Return the question for missing or wrong fields of an order, like ``customer.phone``.

        Fields that a customer cannot answer for, such as a price, are left out. None: only such
        fields.
        """
        asked = dict.fromkeys(self.order_fields[name] for name in asked_for(missing))
        return self.ask_for_order.replace(FIELDS, ", ".join(asked)) if asked else None


OUR_TEXTS: Final = Texts()


class TextsError(Exception):
    """A file of texts that cannot be used; ``problems`` has a line for each mistake."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def read_texts(path: Path) -> Texts:
    """Read a TOML file with any of the fields of ``Texts``; a missing one keeps MIRT's text.

    Raises:
        TextsError: the file cannot be read, or some of it is wrong.
    """
    import tomllib  # commands that only look read no texts

    content = read_text_file(path)
    try:
        found = tomllib.loads(content)
    except tomllib.TOMLDecodeError as wrong:
        raise TextsError([f"it is not TOML: {wrong}"]) from None
    if problems := list(_problems(found)):
        raise TextsError(problems)
    if "order_fields" in found:
        found["order_fields"] = {**ORDER_FIELDS, **found["order_fields"]}
    if "followups" in found:
        found["followups"] = tuple(found["followups"])
    return Texts(**found)


def read_text_file(path: Path) -> str:
    """Return the content of a text file in UTF-8.

    Raises:
        TextsError: the file cannot be read, is not UTF-8, is blank, or holds a NUL character.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError as failed:
        raise TextsError([f"{path}: {failed.strerror or failed}"]) from None
    except UnicodeDecodeError as wrong:
        raise TextsError([f"{path}: it is not UTF-8 (byte {wrong.start})"]) from None
    if not content.strip() or "\0" in content:
        raise TextsError([f"{path}: it is blank, or holds a NUL character"])
    return content


_NAMES: Final = tuple(one.name for one in fields(Texts))


def _problems(found: Mapping[str, Any]) -> Iterator[str]:
    for name, value in found.items():
        if name not in _NAMES:
            yield f"{name}: there is no such text; {_nearest(name, _NAMES)}"
        elif name == "order_fields":
            yield from _problems_of_fields(value)
        elif name == "followups":
            yield from _problems_of_followups(value)
        else:
            yield from _problems_of_text(name, value)
    for name, placeholder in _PLACEHOLDERS.items():
        text = found.get(name, placeholder)
        if isinstance(text, str) and placeholder not in text:
            yield f"{name}: it must have {placeholder} in it, which is replaced"


def _problems_of_text(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str) or not value.strip():
        yield f"{name}: it must be a text, and not blank"
    elif "\0" in value:
        yield f"{name}: a NUL character cannot be sent"
    elif len(value) > LONGEST:
        yield f"{name}: {len(value)} characters, at most {LONGEST} are allowed"


def _problems_of_fields(value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield "order_fields: it must be a table, [order_fields]"
        return
    for name, words in value.items():
        if name not in ORDER_FIELDS:
            nearest = _nearest(name, tuple(ORDER_FIELDS))
            yield f"order_fields.{name}: an order has no such field; {nearest}"
        yield from _problems_of_text(f"order_fields.{name}", words)


def _problems_of_followups(value: Any) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        yield "followups: it must be a list of texts, with at least one"
        return
    for number, text in enumerate(value, start=1):
        yield from _problems_of_text(f"followups, number {number}", text)
        if text in value[: number - 1]:
            yield f"followups, number {number}: the same text stands there twice"


def _nearest(name: str, known: tuple[str, ...]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    return f"perhaps {near[0]}" if near else f"there are {', '.join(known)}"
