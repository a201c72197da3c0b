"""The agent gets as much of a conversation as it takes, and knows what it has done in it."""

from typing import Any

import pytest

from mirt.errors import ErrorCode, PermanentError, PromptRefusedError
from mirt.llm import ChatMessage, Completion
from mirt.store.engine.database import Database
from mirt.store.shop.turns import Recalled, Said
from mirt.store.tables import dead_letters, turns
from mirt.texts import ENOUGH_FOR_TODAY
from mirt.turns.asking import HISTORY_CHARACTERS, ask, newest
from mirt.turns.turn import DAY
from tests.unit.business import Agent, rows
from tests.unit.turns.conftest import open_shop

TOO_LONG = PromptRefusedError("llm: 400 too long", keep=0.5)
FLAGGED = PromptRefusedError("llm: 403 flagged", keep=0.0)
NEW = [ChatMessage("user", "новий")]


def lines(*texts: str) -> list[Said]:
    """Lines of customer and agent in turn, the customer first."""
    return [Said("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(texts)]


def asked(agent: Agent, known: Recalled) -> list[tuple[list[str], str | None]]:
    ask(agent, known, NEW, tools=())
    return agent.asked


def test_the_newest_lines_fit_into_the_characters() -> None:
    said = lines("a" * 5, "b" * 5, "c" * 5)
    assert newest(said, 15) == said
    assert newest(said, 14) == said[1:]
    assert newest(said, 4) == []


def test_the_history_is_bounded_by_its_characters() -> None:
    long = [letter * (HISTORY_CHARACTERS // 4) for letter in "abcdef"]
    [(sent, _)] = asked(Agent(), Recalled(None, lines(*long)))
    assert sent == [*long[-4:], "новий"]


def test_a_request_that_is_too_long_is_sent_once_more_with_half_of_the_history() -> None:
    agent = Agent([TOO_LONG])
    first, second = asked(agent, Recalled("підсумок", lines("a" * 9, "b" * 9, "c" * 9, "d" * 9)))
    assert first[0] == ["a" * 9, "b" * 9, "c" * 9, "d" * 9, "новий"]
    assert second == (["c" * 9, "d" * 9, "новий"], "підсумок")


def test_one_long_line_is_left_out_altogether() -> None:
    first, second = asked(Agent([TOO_LONG]), Recalled(None, lines("a" * 999, "так")))
    assert (first[0], second[0]) == (["a" * 999, "так", "новий"], ["так", "новий"])


def test_a_summary_that_is_too_long_is_left_out() -> None:
    first, second = asked(Agent([TOO_LONG]), Recalled("підсумок", []))
    assert (first, second) == ((["новий"], "підсумок"), (["новий"], None))


def test_a_request_that_is_flagged_is_sent_once_more_with_the_new_message_alone() -> None:
    _, second = asked(Agent([FLAGGED]), Recalled("підсумок", lines("a", "b")))
    assert second == (["новий"], None)


@pytest.mark.parametrize("refused", [TOO_LONG, FLAGGED])
def test_one_message_that_is_refused_by_itself_ends_as_any_refusal(
    refused: PromptRefusedError,
) -> None:
    agent = Agent([refused])
    with pytest.raises(PermanentError) as ended:
        ask(agent, Recalled(), NEW, tools=())
    assert ended.value.error_code == ErrorCode.LLM_REFUSED
    assert len(agent.asked) == 1


def test_the_agent_is_asked_no_third_time() -> None:
    agent = Agent([TOO_LONG, TOO_LONG])
    with pytest.raises(PromptRefusedError):
        ask(agent, Recalled(None, lines("a", "b", "c")), NEW, tools=())
    assert len(agent.asked) == 2


def test_a_conversation_with_a_long_history_goes_on(database: Database) -> None:
    long = [letter * 4000 for letter in "абв"]

    class Narrow(Agent):
        """Refuses, from the fourth turn on, every request with the first message."""

        def answer(self, conversation: Any, *, summary: str | None, **more: Any) -> Completion:
            is_long = any(line.content == long[0] for line in conversation)
            if is_long and len(conversation) > 6:
                raise PromptRefusedError("llm: 400 maximum context length", keep=0.5)
            return super().answer(conversation, summary=summary, **more)

    with open_shop(database, llm=Narrow()) as shop:
        for number, text in enumerate([*long, "так", "ні", "добре", "дякую"]):
            shop.receive(f"t{number}", text=text)
            shop.answer(f"t{number}")
        assert len(shop.shown) == 7
    assert rows(database, dead_letters) == []


class Notes(Agent):
    """Keeps what it is told beside the conversation."""

    told: list[str]

    def answer(self, conversation: Any, *, summary: str | None, **more: Any) -> Completion:
        self.told = list(more["notes"])
        return super().answer(conversation, summary=summary)


def told(*actions: dict[str, Any]) -> list[str]:
    agent = Notes()
    ask(agent, Recalled(None, [Said("assistant", "Так", list(actions))]), NEW, tools=())
    return agent.told


def test_the_agent_knows_what_it_has_ordered() -> None:
    done = {"action": "create_order", "task_id": "t1:0", "items": ["Сукня, 110, синій, 1 шт."]}
    (note,) = told(done, done)
    assert "Сукня, 110, синій" in note
    assert "Не оформлюй його вдруге" in note


def test_the_agent_knows_what_an_order_lacks() -> None:
    (note,) = told({"action": "create_order", "wrong": ["customer.phone"]})
    assert "customer.phone" in note


def test_the_agent_knows_that_an_order_has_failed() -> None:
    (note,) = told({"action": "create_order", "wrong": ["items.0.price"]})
    assert "не вдалося" in note


def test_marks_need_no_note() -> None:
    remembered = {"action": "remember_customer", "task_id": "t1:0"}
    assert told(remembered, {"action": "remember_customer", "wrong": ["arguments"]}) == []


def test_a_conversation_that_has_cost_its_tokens_is_left_to_a_person(database: Database) -> None:
    with open_shop(database, max_tokens_per_day=14) as shop:  # an answer costs 7
        for number in range(4):
            shop.receive(f"t{number}")
            shop.answer(f"t{number}")
        texts = [text for _, text in shop.shown]
        assert texts == ["answer 1", "answer 2", ENOUGH_FOR_TODAY, ENOUGH_FOR_TODAY]
        assert [turn.model for turn in rows(database, turns)][-1] == "limit"
        shop.clock.advance(seconds=DAY.total_seconds() + 1)
        shop.receive("t9")
        shop.answer("t9")
        assert shop.shown[-1] == ("7", "answer 3")


def test_a_reply_without_end_is_cut_and_the_cut_is_recorded(database: Database) -> None:
    with open_shop(database) as shop:
        shop.agent.script = ["Слово. " * 10_000]
        shop.receive("t1")
        shop.answer("t1")
        [turn] = rows(database, turns)
    assert 15_000 < len(turn.reply) <= 16_000
    assert turn.actions == [{"action": "reply", "cut_from": 70_000}]


@pytest.mark.parametrize(("limit", "asked"), [(7, 1), (8, 2), (15, 3)])
def test_the_last_answer_is_the_one_that_reaches_the_limit(
    database: Database, limit: int, asked: int
) -> None:
    with open_shop(database, max_tokens_per_day=limit) as shop:  # an answer costs 7
        for task_id in ("t1", "t2", "t3", "t4"):
            shop.receive(task_id)
            shop.answer(task_id)
        assert len(shop.agent.asked) == asked


def test_the_tokens_of_a_conversation_are_forgiven_after_a_day(database: Database) -> None:
    with open_shop(database, max_tokens_per_day=7) as shop:
        for task_id, hours in (("t1", 0), ("t2", 23), ("t3", 2)):
            shop.clock.advance(hours=hours)
            shop.receive(task_id)
            shop.answer(task_id)
        assert [texts[-1] for texts, _ in shop.agent.asked] == ["t1", "t3"]
