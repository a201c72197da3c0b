"""Fixed texts that the service itself sends to customers, in Ukrainian."""

import re
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
ENOUGH_FOR_TODAY: Final = (
    "Дякую за повідомлення! Далі вам відповість колега. "
    "Якщо відповіді не буде до завтра, напишіть, будь ласка, ще раз."
)
ORDER_TAKEN: Final = "Дякую! Замовлення прийнято, невдовзі ми його підтвердимо."
ORDER_NOT_TAKEN: Final = (
    "Перепрошую, зараз не вдалося оформити замовлення. Ми вже перевіряємо його й напишемо вам."
)
UNDERSTOOD: Final = "Дякую, занотувала."
RECEIVED: Final = "Дякую за повідомлення!"


def cannot_read(labels: Iterable[str]) -> str:
    """Return the sentence for content that cannot be read, like a voice message."""
    return (
        f"Дякую, надійшло: {', '.join(labels)}. На жаль, я не можу цього відкрити. "
        "Напишіть, будь ласка, словами, і я допоможу."
    )


_ASKED_FOR: Final = {
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


def missing_from_order(fields: Iterable[str]) -> str | None:
    """Return the question for the missing or wrong ``fields`` of an order, like ``customer.phone``.

    Fields that a customer cannot answer for, such as a price, are left out. None: only such fields.
    """
    names = (re.sub(r"\.\d+$", "", field).rpartition(".")[2] for field in fields)
    asked = dict.fromkeys(_ASKED_FOR[name] for name in names if name in _ASKED_FOR)
    if not asked:
        return None
    return f"Щоб оформити замовлення, уточніть, будь ласка: {', '.join(asked)}."


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
