"""Fixed texts that the service itself sends to customers, in Ukrainian."""

from collections.abc import Iterable
from typing import Final

GREETING: Final = "Вітаю! Я допоможу підібрати дитячий одяг. Що шукаєте?"
APOLOGY: Final = (
    "Перепрошуємо, зараз не вдалося відповісти на ваше повідомлення. "
    "Спробуйте, будь ласка, написати ще раз трохи пізніше."
)
DELAY_NOTICE: Final = (
    "Дякуємо, ваше повідомлення отримано. Відповідь трохи затримується, ми обов'язково напишемо."
)
ORDER_TAKEN: Final = "Дякую! Замовлення прийнято, невдовзі ми його підтвердимо."
UNDERSTOOD: Final = "Дякую, занотувала."

_ASKED_FOR: Final = {
    "full_name": "ім'я та прізвище",
    "phone": "номер телефону",
    "city": "місто",
    "product_id": "яку саме річ",
    "product_name": "яку саме річ",
    "size": "розмір",
    "color": "колір",
    "quantity": "кількість",
    "items": "які речі замовляєте",
}


def missing_from_order(fields: Iterable[str]) -> str:
    """Return the question for the missing or wrong ``fields`` of an order, like ``customer.phone``.

    Fields that a customer cannot answer for are left out.
    """
    asked = dict.fromkeys(
        _ASKED_FOR[last] for one in fields if (last := one.rpartition(".")[2]) in _ASKED_FOR
    )
    what = ", ".join(asked) or "деталі замовлення"
    return f"Щоб оформити замовлення, уточніть, будь ласка: {what}."


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
