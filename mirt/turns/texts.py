"""What the service itself says to a customer."""

from typing import Final

GREETING: Final = "Вітаю! Я допоможу підібрати дитячий одяг. Що шукаєте?"
APOLOGY: Final = (
    "Перепрошуємо, зараз не вдалося відповісти на ваше повідомлення. "
    "Спробуйте, будь ласка, написати ще раз трохи пізніше."
)
