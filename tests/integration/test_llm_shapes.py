"""The replies that a customer gets while the LLM answers oddly, through the whole service."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from mirt.runtime import current_runtime
from mirt.store.tables import dead_letters, history
from service import dispatcher
from tests.fakes import FakeServices, Hang, Status
from tests.integration.conftest import Running, rows

BROKEN_OFF = {
    "choices": [
        {
            "message": {"role": "assistant", "content": "Ваше замовлення на суму 4"},
            "finish_reason": "error",
            "error": {"code": 502, "message": "Provider disconnected"},
        }
    ]
}


@pytest.fixture
def hear(run: Callable[..., Running]) -> Callable[[str], None]:
    """Receive a message of one customer, and answer it."""
    run("eager")

    def send(text: str) -> None:
        dispatcher.dispatch_message("42", text, "telegram", "42", fire_and_forget=True)

    return send


def said() -> list[str]:
    with current_runtime().database.transaction() as tx:
        return list(tx.execute(select(history.c.content).order_by(history.c.id)).scalars())


def answered(content: Any) -> Status:
    return Status(200, {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]})


def test_an_answer_that_broke_off_is_asked_for_again_and_never_delivered(
    hear: Callable[[str], None], services: FakeServices
) -> None:
    services.misbehave("llm", Status(200, BROKEN_OFF))
    hear("Скільки?")
    assert services.sent("42") == ["echo: Скільки?"]
    assert said() == ["Скільки?", "echo: Скільки?"]


def test_an_llm_that_hangs_is_asked_again(
    run: Callable[..., Running], services: FakeServices
) -> None:
    run("eager", llm_call_timeout_seconds=1)
    services.misbehave("llm", Hang())
    dispatcher.dispatch_message("42", "Скільки?", "telegram", "42", fire_and_forget=True)
    assert services.sent("42") == ["echo: Скільки?"]


def test_without_its_parameters_a_request_has_none(
    run: Callable[..., Running], services: FakeServices
) -> None:
    run("eager", llm_max_tokens=None, llm_temperature=None, llm_tools=False)
    dispatcher.dispatch_message("42", "Скільки?", "telegram", "42", fire_and_forget=True)
    (request,) = services.requests("llm")
    assert request.body.keys() == {"model", "messages"}


def test_a_list_of_parts_is_one_call_and_one_answer(
    hear: Callable[[str], None], services: FakeServices
) -> None:
    services.misbehave("llm", answered([{"type": "text", "text": "Так, є 104."}]))
    hear("Є 104?")
    assert services.sent("42") == ["Так, є 104."]
    assert len(services.requests("llm")) == 1


def test_thinking_is_neither_delivered_nor_remembered(
    hear: Callable[[str], None], services: FakeServices
) -> None:
    services.misbehave("llm", answered("<think>ціну не казати</think>\n\nУточню в колег."))
    hear("Скільки?")
    assert services.sent("42") == ["Уточню в колег."]
    assert said() == ["Скільки?", "Уточню в колег."]


def test_a_history_that_is_too_long_costs_no_customer_an_answer(
    hear: Callable[[str], None], services: FakeServices
) -> None:
    long = [letter * 4000 for letter in "абв"]
    for text in long:
        hear(text)
    refusal = {"error": {"message": "This endpoint's maximum context length is 8192 tokens."}}
    services.misbehave("llm", Status(400, refusal), times=None, match=long[0])
    short = ["так", "ні", "добре", "дякую"]
    for text in short:
        hear(text)
    assert services.sent("42")[-4:] == [f"echo: {text}" for text in short]
    assert rows(dead_letters) == []
