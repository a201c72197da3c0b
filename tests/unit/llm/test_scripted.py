"""The agent that needs no key."""

import pytest

from mirt.llm import PHOTO, Agent, ChatMessage
from mirt.llm.scripted import ScriptedAgent

AGENT: Agent = ScriptedAgent()


def answer(*said: str) -> str:
    return AGENT.answer([ChatMessage("user", text) for text in said], summary=None).text


@pytest.mark.parametrize(
    ("said", "about"),
    [
        ("Привіт!", "Вітаю!"),
        ("/start", "Вітаю!"),
        ("Який розмір брати?", "зріст"),
        ("СКІЛЬКИ коштує?", "Ціна"),
        ("А доставка є?", "Новою поштою"),
        (PHOTO, "Дякую за фото"),
    ],
)
def test_the_scripted_agent_has_words_for_the_questions_of_customers(said: str, about: str) -> None:
    assert about in answer(said)


def test_where_it_has_no_words_it_repeats_the_question() -> None:
    assert "«Чи є у вас парасольки?»" in answer("Чи є у вас парасольки?")


@pytest.mark.parametrize("said", ["Привіт", "скільки?", "щось інше", ""])
def test_every_answer_says_what_it_is_and_what_brings_the_real_one(said: str) -> None:
    assert "вбудований агент" in answer(said)
    assert "LLM_API_KEY" in answer(said)


def test_messages_that_piled_up_are_answered_together() -> None:
    reply = answer("Привіт", "скільки коштує сукня?")
    assert "Вітаю!" in reply
    assert "Ціна" in reply


def test_an_answered_message_is_not_answered_again() -> None:
    said = [
        ChatMessage("user", "скільки коштує?"),
        ChatMessage("assistant", "Ціна залежить від розміру."),
        ChatMessage("user", "парасолька"),
    ]
    assert "Ціна" not in AGENT.answer(said, summary=None).text


def test_the_same_words_get_the_same_answer() -> None:
    assert answer("Привіт", "фото") == answer("Привіт", "фото")


def test_a_summary_keeps_the_one_before_and_is_never_blank() -> None:
    said = [ChatMessage("user", "Зріст 110"), ChatMessage("assistant", "Так")]
    assert AGENT.summarise(said, summary="Оля").text == "Оля / Зріст 110"
    assert AGENT.summarise([], summary=None).text
