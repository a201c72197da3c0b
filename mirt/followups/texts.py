"""What a follow-up says. Each differs from those before it, so none is said twice in one silence.

They are written and not asked of the agent: a customer who has gone silent is better served by a
sentence that promises nothing than by one that is made up.
"""

from typing import Final

TEXTS: Final = (
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
