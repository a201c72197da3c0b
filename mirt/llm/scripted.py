"""Answer without network and key: a built-in agent with the same answer to the same words."""

from collections.abc import Sequence
from typing import Final

from mirt.llm.protocol import PHOTO, ChatMessage, Completion, Tool

NOTICE: Final = (
    "(Це вбудований агент, що відповідає за сценарієм. "
    "Щоб відповідав справжній, задайте LLM_API_KEY.)"
)
"""Last line of every answer, so that customers can tell the script from an LLM."""

_LONGEST_ECHO: Final = 200
_LONGEST_SUMMARY: Final = 1000

_TOPICS: Final = (
    (
        ("/start", "/restart", "привіт", "вітаю", "добрий", "доброго", "hello"),
        "Вітаю! Це магазин дитячого одягу MIRT. Що шукаєте?",
    ),
    (
        (PHOTO, "фото"),
        "Дякую за фото! Напишіть, будь ласка, назву речі: я не бачу зображень.",
    ),
    (
        ("розмір", "зріст", "зросту", "ростовк", "size"),
        "Підкажіть зріст дитини в сантиметрах, і я допоможу з розміром.",
    ),
    (
        ("цін", "скільки", "кошту", "вартість", "грн", "price"),
        "Ціна залежить від моделі й розміру. Яка річ вас цікавить?",
    ),
    (
        ("достав", "пошт", "відправ", "delivery"),
        "Доставляємо Новою поштою. Напишіть місто й номер відділення.",
    ),
)


class ScriptedAgent:
    """An agent with an answer for each topic of its list; it repeats a question on other topics."""

    def answer(
        self,
        conversation: Sequence[ChatMessage],
        *,
        summary: str | None,
        tools: Sequence[Tool] = (),
        notes: Sequence[str] = (),
    ) -> Completion:
        """Return a reply to all messages since the last answer. It has no actions."""
        question = _unanswered(conversation)
        words = question.casefold()
        replies = [reply for keys, reply in _TOPICS if any(key in words for key in keys)]
        text = " ".join(replies) or f"Ви написали: «{question[:_LONGEST_ECHO]}»."
        return _completion(f"{text}\n\n{NOTICE}")

    def summarise(self, conversation: Sequence[ChatMessage], *, summary: str | None) -> Completion:
        """Return the end of the customer's messages, with the summary before them."""
        questions = [message.content for message in conversation if message.role == "user"]
        text = " / ".join([*([summary] if summary else []), *questions])
        return _completion(text[-_LONGEST_SUMMARY:] or "Розмови не було.")


def _unanswered(conversation: Sequence[ChatMessage]) -> str:
    unanswered: list[str] = []
    for message in conversation:
        if message.role == "assistant":
            unanswered.clear()
        else:
            unanswered.append(message.content)
    return " ".join(unanswered)


def _completion(text: str) -> Completion:
    return Completion(text, model="scripted", prompt_tokens=0, completion_tokens=0)
