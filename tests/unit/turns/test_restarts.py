"""``/start`` begins a conversation afresh: greeted without the agent, and the past is not told."""

import pytest
from sqlalchemy import update

from mirt.store.tables import conversations, history
from mirt.texts import GREETING
from tests.unit.business import mail, rows
from tests.unit.turns.conftest import Shop


@pytest.mark.parametrize("command", ["/start", "/restart", "/start@mirt_bot", "/start promo"])
def test_a_command_is_greeted_without_the_agent(shop: Shop, command: str) -> None:
    shop.receive("t1", text=command)
    shop.answer(mail("t1", command))
    assert shop.shown == [("7", GREETING)]
    assert shop.agent.asked == []


def test_after_a_restart_nothing_of_what_was_said_before_is_told(shop: Shop) -> None:
    shop.receive("t1")
    shop.answer("t1")
    with shop.database.transaction() as tx:
        tx.execute(update(conversations).values(summary="wants a coat"))
    shop.receive("t2", text="/restart")
    shop.answer(mail("t2", "/restart"))
    shop.receive("t3")
    shop.answer("t3")
    assert shop.agent.asked[-1] == (["t3"], None)


def test_mail_before_a_restart_is_kept(shop: Shop) -> None:
    shop.receive("t1")
    shop.answer("t1")
    shop.receive("t2", text="/start")
    shop.answer(mail("t2", "/start"))
    assert [row.content for row in rows(shop.database, history)] == ["t1", "answer 1"]


def test_a_restart_among_other_messages_is_answered_in_its_place(shop: Shop) -> None:
    shop.receive("t1")
    shop.receive("t2", text="/start")
    shop.receive("t3")
    for task_id, text in (("t1", "t1"), ("t2", "/start"), ("t3", "t3")):
        shop.answer(mail(task_id, text))
    assert shop.agent.asked == [(["t1"], None), (["t3"], None)]
    assert [text for _, text in shop.shown] == ["answer 1", GREETING, "answer 2"]


def test_a_restart_closes_only_its_own_conversation(shop: Shop) -> None:
    shop.receive("t1", session_id="another")
    shop.answer(mail("t1", session_id="another"))
    shop.receive("t2", text="/start")
    shop.answer(mail("t2", "/start"))
    shop.receive("t3", session_id="another")
    shop.answer(mail("t3", session_id="another"))
    assert shop.agent.asked[-1] == (["t1", "answer 1", "t3"], None)


def test_the_summary_is_told_to_the_agent(shop: Shop) -> None:
    shop.receive("t1")
    with shop.database.transaction() as tx:
        tx.execute(update(conversations).values(summary="wants a coat"))
    shop.answer("t1")
    assert shop.agent.asked == [(["t1"], "wants a coat")]
