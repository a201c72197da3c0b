"""An old conversation becomes a summary: nothing is lost by it, and nothing is said twice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, event, select

from actors.summarization import summarize_session
from broker.task import registry
from mirt import summaries
from mirt.errors import DatabaseError, LeaseLostError
from mirt.runtime import current_runtime
from mirt.store.queue.leases import Lease
from mirt.store.tables import conversations, dead_letters, history
from mirt.texts import GREETING
from service import dispatcher
from tests.clock import FakeClock
from tests.fakes import FakeServices, Hang, Status
from tests.integration.conftest import CHAT, TRANSPORTS, Running, Shop, result_of
from tests.polling import wait_until

PROMPT = "Стисло підсумуй"


def said(chat: str = CHAT) -> list[str]:
    with current_runtime().database.transaction() as tx:
        asked = select(history.c.content).where(history.c.session_id == chat)
        return list(tx.execute(asked.order_by(history.c.id)).scalars())


def summary(chat: str = CHAT) -> str | None:
    with current_runtime().database.transaction() as tx:
        asked = select(conversations.c.summary).where(conversations.c.session_id == chat)
        found: str | None = tx.execute(asked).scalar_one()
        return found


def asked_to_sum_up(services: FakeServices) -> list[list[dict[str, str]]]:
    asked = [request.body["messages"] for request in services.requests("llm")]
    return [messages for messages in asked if messages[0]["content"].startswith(PROMPT)]


def test_a_conversation_is_summed_up_three_days_after_its_last_message_once(shop: Shop) -> None:
    shop.hear()
    shop.clock.advance(days=2.9)
    assert shop.send_summaries() == 0
    shop.clock.advance(days=0.1)
    assert (shop.send_summaries(), shop.send_summaries()) == (1, 0)
    assert (summary() or "").startswith("echo: Покупець: Є сукня?")
    assert said() == []


def test_the_agent_is_told_the_summary_afterwards(shop: Shop) -> None:
    shop.hear()
    shop.clock.advance(days=3)
    shop.send_summaries()
    shop.hear("Беру")
    told = shop.services.requests("llm")[-1].body["messages"]
    assert {one["role"] for one in told if "Є сукня?" in one["content"]} == {"user"}


def test_the_next_summary_is_written_over_the_one_before_not_instead_of_it(shop: Shop) -> None:
    shop.hear()
    shop.clock.advance(days=3)
    shop.send_summaries()
    before = summary()
    shop.hear("Беру")
    shop.clock.advance(days=3)
    shop.send_summaries()
    _, second = asked_to_sum_up(shop.services)
    assert before is not None
    assert before in second[1]["content"]
    assert "Беру" in second[2]["content"]


def test_mail_that_the_agent_could_not_sum_up_is_not_deleted(shop: Shop) -> None:
    shop.hear()
    shop.clock.advance(days=3)
    shop.services.misbehave("llm", Status(400), match=PROMPT)
    shop.send_summaries()
    assert len(said()) == 2
    assert summary() is None
    with current_runtime().database.transaction() as tx:
        assert tx.execute(select(dead_letters.c.error_code)).scalar_one() == "LLM_REFUSED"


def test_a_summary_that_cannot_be_saved_deletes_nothing(shop: Shop) -> None:
    shop.hear()
    with current_runtime().database.transaction() as tx:
        tx.exec_driver_sql(REFUSE_SUMMARIES)
    shop.clock.advance(days=3)
    shop.send_summaries()
    assert len(asked_to_sum_up(shop.services)) == 1
    assert (len(said()), summary()) == (2, None)


REFUSE_SUMMARIES = """
CREATE TRIGGER refuse_summaries BEFORE UPDATE OF summary ON conversations
WHEN NEW.summary IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'the disk is full'); END
"""


def test_mail_that_comes_during_a_summary_stays(
    run: Callable[..., Running], services: FakeServices
) -> None:
    run("embedded", SUMMARY_RETENTION_DAYS=0)
    Shop(services, FakeClock()).hear("Є сукня?")
    wait_until(lambda: len(said()) == 2)
    hanging = services.misbehave("llm", Hang(), match=PROMPT)
    summarize_session.send(CHAT)
    services.wait_until(lambda: hanging.used == 1)
    Shop(services, FakeClock()).hear("І шапка?")
    wait_until(lambda: len(said()) == 4)
    services.release()
    wait_until(lambda: summary() is not None)
    assert said() == ["І шапка?", "echo: І шапка?"]


def test_of_two_summaries_at_once_the_second_overwrites_nothing(
    run: Callable[..., Running], services: FakeServices
) -> None:
    run("embedded")
    Shop(services, FakeClock()).hear("Є сукня?")
    wait_until(lambda: len(said()) == 2)
    hanging = services.misbehave("llm", Hang(), times=2, match=PROMPT)
    both = [summarize_session.send(CHAT) for _ in range(2)]
    services.wait_until(lambda: hanging.used == 2)
    services.release()
    results = registry.broker.get_results_backend()
    outcomes = [results.get_result(one, block=True, timeout=10_000) for one in both]
    assert sorted(one["status"] for one in outcomes) == ["skipped", "summarized"]
    assert summary() == "echo: Покупець: Є сукня?\nКонсультант: echo: Є сукня?"


def test_a_summary_that_comes_after_a_restart_is_thrown_away(
    run: Callable[..., Running], services: FakeServices
) -> None:
    run("embedded")
    shop = Shop(services, FakeClock())
    shop.hear("Є сукня?")
    wait_until(lambda: len(said()) == 2)
    hanging = services.misbehave("llm", Hang(), match=PROMPT)
    late = summarize_session.send(CHAT)
    services.wait_until(lambda: hanging.used == 1, 40)
    shop.hear("/restart")
    wait_until(lambda: GREETING in services.sent(CHAT))
    services.release()
    assert result_of(late)["reason"] == "changed_meanwhile"
    shop.hear("Є шапка?")
    wait_until(lambda: "echo: Є шапка?" in services.sent(CHAT))
    assert summary() is None
    told = services.requests("llm")[-1].body["messages"]
    assert not any("сукня" in one["content"] for one in told)


def test_a_conversation_begun_afresh_is_not_summed_up_with_the_old_one(shop: Shop) -> None:
    shop.hear()
    shop.hear("/restart")
    shop.hear("Є шапка?")
    shop.clock.advance(days=3)
    shop.send_summaries()
    assert "сукня" not in (summary() or "")
    assert "шапка" in (summary() or "")


def test_a_long_conversation_is_summed_up_in_rounds(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summaries, "ROUND", 30)
    for number in range(4):
        shop.hear(f"повідомлення {number}")
    outcome = result_of(summarize_session.send(CHAT))
    assert (outcome["status"], said()) == ("summarized", [])
    assert len(asked_to_sum_up(shop.services)) > 1


TOO_LONG = Status(400, {"error": {"message": "maximum context length is 8192 tokens"}})
HALF = Status(
    200, {"choices": [{"message": {"content": "Оля хотіла. Зрі"}, "finish_reason": "length"}]}
)


def test_a_summary_that_was_cut_off_replaces_nothing(shop: Shop) -> None:
    shop.hear("Є сукня?")
    shop.services.misbehave("llm", HALF, times=None, match=PROMPT)
    shop.clock.advance(days=3)
    shop.send_summaries()
    assert (summary(), len(said())) == (None, 2)


def test_a_conversation_that_is_too_long_for_the_model_is_summed_up_in_smaller_rounds(
    shop: Shop,
) -> None:
    for number in range(4):
        shop.hear(f"повідомлення {number}")
    shop.services.misbehave("llm", TOO_LONG, times=2, match=PROMPT)
    outcome = result_of(summarize_session.send(CHAT))
    assert (outcome["status"], said()) == ("summarized", [])
    assert "повідомлення 3" in (summary() or "")


def test_a_line_that_the_model_refuses_keeps_no_conversation_from_its_summary(
    shop: Shop,
) -> None:
    for text in ("Є сукня?", "заборонене", "Зріст 104"):
        shop.hear(text)
    flagged = Status(403, {"error": {"message": "Your input was flagged"}})
    shop.services.misbehave("llm", flagged, times=None, match="Покупець: заборонене")
    shop.services.misbehave("llm", flagged, times=None, match="echo: заборонене")
    outcome = result_of(summarize_session.send(CHAT))
    assert (outcome["status"], said()) == ("summarized", [])
    taken = [messages[-1]["content"] for messages in asked_to_sum_up(shop.services)]
    for line in ("Покупець: Є сукня?", f"Покупець: {summaries.LEFT_OUT}", "Покупець: Зріст 104"):
        assert any(one.startswith(line) for one in taken)
    assert "заборонене" not in (summary() or "")


def test_a_round_whose_commit_was_not_confirmed_is_followed_by_the_next_round(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summaries, "ROUND", 30)
    for number in range(4):
        shop.hear(f"повідомлення {number}")
    lose_confirmation_of("DELETE FROM history", monkeypatch)
    outcome = result_of(summarize_session.send(CHAT))
    assert (outcome["status"], said()) == ("summarized", [])


def lose_confirmation_of(statement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first transaction with this statement fail after its commit."""
    database = current_runtime().database
    commit = database.transaction
    lost: list[DatabaseError] = []

    def note(_c: object, _cursor: object, executed: str, *_: object) -> None:
        if executed.startswith(statement) and not lost:
            lost.append(DatabaseError("the confirmation was lost"))

    @contextmanager
    def transaction() -> Iterator[Connection]:
        with commit() as tx:
            yield tx
        if lost and not lost[0].__traceback__:
            raise lost[0]

    event.listen(database.engine, "after_cursor_execute", note)
    monkeypatch.setattr(database, "transaction", transaction)


@pytest.mark.parametrize("session_id", ["nobody", CHAT])
def test_where_nothing_was_said_nothing_is_summed_up(shop: Shop, session_id: str) -> None:
    shop.hear("/start")
    skipped = {"status": "skipped", "session_id": session_id, "reason": "nothing_new"}
    assert result_of(summarize_session.send(session_id)) == skipped


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_dispatched_summary_is_written(
    run: Callable[..., Running], services: FakeServices, transport: str
) -> None:
    run(transport)
    Shop(services, FakeClock()).hear("Є сукня?")
    wait_until(lambda: len(said()) == 2)
    answer = dispatcher.dispatch_summarization(CHAT)
    assert answer == {"queued": True, "task_id": answer["task_id"]}
    wait_until(lambda: said() == [])
    assert summary() == "echo: Покупець: Є сукня?\nКонсультант: echo: Є сукня?"


def test_without_tasks_the_caller_gets_the_result(
    run: Callable[..., Running], services: FakeServices
) -> None:
    run("embedded", work=False, TASKS_ENABLED=False)
    Shop(services, FakeClock()).hear("Є сукня?")
    answer = dispatcher.dispatch_summarization(CHAT)
    assert answer == {
        "queued": False,
        "status": "summarized",
        "session_id": CHAT,
        "summary_length": len(summary() or ""),
    }


def test_a_worker_that_lost_its_lease_stores_no_summary(shop: Shop) -> None:
    shop.hear()
    with pytest.raises(LeaseLostError):
        current_runtime().summaries.summarise(Lease("s1", "lost", fence=1), CHAT)
    assert (summary(), len(said())) == (None, 2)
