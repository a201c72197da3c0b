"""Without a queue the caller does the work: the same turns, in the same order."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mirt.clock import deadline_in
from mirt.conversations import as_task
from mirt.errors import ErrorCode, ExternalServiceError, PermanentError
from mirt.store.queue.dead_letters import DeadLetterFilter, list_dead
from mirt.store.queue.events import events_of
from mirt.store.shop.deliveries import find_delivery, part_sent
from mirt.store.shop.mailbox import Mail
from mirt.store.tables import deliveries, inbox, tasks
from mirt.task_names import TaskName
from mirt.texts import APOLOGY
from tests.polling import wait_until
from tests.unit.business import mail, rows
from tests.unit.turns.conftest import Shop


def response(shop: Shop, message: Mail) -> Any:
    return (shop.dispatch(message).result or {})["response"]


def test_the_caller_gets_the_answer_and_the_task_is_done(shop: Shop) -> None:
    result = shop.dispatch(mail("t1", actor=TaskName.PROCESS_MESSAGE)).result or {}
    assert result["response"] == "answer 1"
    assert [row.state for row in rows(shop.database, tasks)] == ["done"]
    assert shop.head() is None


def test_the_same_message_is_answered_with_the_same_words_and_paid_once(shop: Shop) -> None:
    letter = mail("t1", actor=TaskName.PROCESS_MESSAGE)
    assert shop.dispatch(letter) == shop.dispatch(letter)
    assert len(shop.agent.asked) == 1


def test_a_reply_that_is_to_be_delivered_is(shop: Shop) -> None:
    shop.dispatch(mail("t1"))
    assert shop.shown == [("7", "answer 1")]


def test_mail_that_comes_while_another_is_answered_waits_and_is_answered_next(shop: Shop) -> None:
    thinking, go_on = threading.Event(), threading.Event()

    def think() -> None:
        thinking.set()
        assert go_on.wait(5)

    shop.agent.meanwhile = think
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(shop.dispatch, mail("t1", actor=TaskName.PROCESS_MESSAGE))
        assert thinking.wait(5)
        second = callers.submit(shop.dispatch, mail("t2", actor=TaskName.PROCESS_MESSAGE))
        wait_until(lambda: shop.state("t2") == "waiting")
        go_on.set()
        answers = [(caller.result(5).result or {})["response"] for caller in (first, second)]
    assert answers == ["answer 1", "answer 2"]
    assert shop.agent.asked[1] == (["t1", "answer 1", "t2"], None)


def test_a_failure_is_the_callers_and_is_not_tried_again(shop: Shop) -> None:
    shop.agent.script = [ExternalServiceError("llm", "502")]
    with pytest.raises(ExternalServiceError, match="502"):
        shop.dispatch(mail("t1", actor=TaskName.PROCESS_MESSAGE))
    assert [row.state for row in rows(shop.database, tasks)] == ["dead"]
    assert (shop.state("t1"), shop.head()) == ("failed", None)


def test_after_a_failure_the_next_message_is_answered(shop: Shop) -> None:
    shop.agent.script = [ExternalServiceError("llm", "502")]
    with pytest.raises(ExternalServiceError):
        shop.dispatch(mail("t1", actor=TaskName.PROCESS_MESSAGE))
    assert response(shop, mail("t2", actor=TaskName.PROCESS_MESSAGE)) == "answer 2"


def test_a_customer_whose_turn_has_failed_is_apologised_to(shop: Shop) -> None:
    shop.agent.script = [PermanentError("no", ErrorCode.LLM_REFUSED)]
    with pytest.raises(PermanentError):
        shop.dispatch(mail("t1"))
    assert shop.shown == [("7", APOLOGY)]
    assert shop.head() is None


def test_a_caller_that_finds_earlier_mail_answers_it_too(shop: Shop) -> None:
    shop.receive("left behind")
    shop.clock.advance(seconds=60)
    result = shop.dispatch(mail("t1", actor=TaskName.PROCESS_MESSAGE)).result or {}
    assert result["response"] == "answer 2"
    assert shop.shown == [("7", "answer 1")]
    assert [row.state for row in rows(shop.database, inbox)] == ["answered", "answered"]


def test_anothers_failure_is_not_the_callers(shop: Shop) -> None:
    shop.receive("left behind")
    shop.agent.script = [ExternalServiceError("llm", "502"), "yours"]
    assert response(shop, mail("t1", actor=TaskName.PROCESS_MESSAGE)) == "yours"
    assert shop.shown == [("7", APOLOGY)]


def test_a_second_copy_of_a_message_that_has_failed_is_told_so_at_once(shop: Shop) -> None:
    shop.agent.script = [ExternalServiceError("llm", "502")]
    with pytest.raises(ExternalServiceError):
        shop.dispatch(mail("t1", actor=TaskName.PROCESS_MESSAGE))
    with pytest.raises(PermanentError, match="has failed"):
        shop.dispatch(mail("t1", actor=TaskName.PROCESS_MESSAGE))


def test_an_apology_that_cannot_be_sent_blocks_nobody(shop: Shop) -> None:
    shop.agent.script = [PermanentError("no", ErrorCode.LLM_REFUSED)]
    shop.console.script = [ExternalServiceError("telegram", "502")]
    with pytest.raises(PermanentError, match="no"):
        shop.dispatch(mail("t1"))
    assert shop.head() is None
    assert response(shop, mail("t2")) == "answer 2"


def test_a_bug_fails_its_own_message_only(shop: Shop) -> None:
    shop.agent.script = [ValueError("a bug")]
    with pytest.raises(ValueError, match="a bug"):
        shop.dispatch(mail("t1", actor=TaskName.PROCESS_MESSAGE))
    assert response(shop, mail("t2", actor=TaskName.PROCESS_MESSAGE)) == "answer 2"


def test_an_apology_that_was_left_behind_is_brought_by_who_comes_next(shop: Shop) -> None:
    shop.receive("t1")
    shop.fails_for_good("t1")
    with deadline_in(5):
        assert response(shop, mail("t2", actor=TaskName.PROCESS_MESSAGE)) == "answer 1"
    assert shop.shown == [("7", APOLOGY)]
    assert [row.state for row in rows(shop.database, deliveries)] == ["sent"]
    assert shop.head() is None


def test_an_apology_whose_bringer_died_when_it_was_sent_is_not_brought_again(shop: Shop) -> None:
    shop.receive("t1")
    [apology] = shop.fails_for_good("t1")
    shop.claim(apology, owner="caller:dead")
    with shop.database.transaction() as tx:
        left = find_delivery(tx, apology.task_id)
        assert left is not None
        part_sent(tx, left, last=True, chat_id="7", now=shop.clock())
    shop.clock.advance(seconds=60)
    with deadline_in(5):
        assert response(shop, mail("t2", actor=TaskName.PROCESS_MESSAGE)) == "answer 1"
    assert shop.shown == []


def test_a_failed_turn_is_a_dead_letter_with_all_that_is_known(shop: Shop) -> None:
    shop.agent.script = [PermanentError("no", ErrorCode.LLM_REFUSED)]
    shop.console.script = [ExternalServiceError("telegram", "502")]
    letter = mail("t1")
    with pytest.raises(PermanentError):
        shop.dispatch(letter)
    with shop.database.transaction() as tx:
        of_apology, of_turn = list_dead(tx, DeadLetterFilter())
        events = [event.kind for event in events_of(tx, ["t1"])]
    assert of_turn.task.kwargs == as_task(letter).kwargs
    assert (of_turn.task.task_id, of_turn.task.actor) == ("t1", letter.actor)
    assert (of_turn.queue, of_turn.error_code, of_turn.attempts) == ("llm", "LLM_REFUSED", 1)
    assert (of_turn.trace_id, of_turn.session_id) == ("trace", "s")
    assert of_turn.exception == "PermanentError: no"
    assert "in answer" in of_turn.traceback
    assert events == ["died"]
    assert of_apology.task.kwargs["response_text"] == APOLOGY
    assert (of_apology.queue, of_apology.error_code) == ("webhooks", "RETRIES_EXHAUSTED")


def test_a_second_copy_is_told_with_what_its_message_has_failed(shop: Shop) -> None:
    shop.agent.script = [PermanentError("no", ErrorCode.LLM_REFUSED)]
    for _ in range(2):
        with pytest.raises(PermanentError) as failed:
            shop.dispatch(mail("t1", actor=TaskName.PROCESS_MESSAGE))
        assert failed.value.error_code == ErrorCode.LLM_REFUSED
