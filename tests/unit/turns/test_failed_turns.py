"""A turn that fails for good owes its customer one apology, and may be run again by an operator."""

import pytest

from mirt.errors import (
    ErrorCode,
    ExternalServiceError,
    OutcomeUnknownError,
    PermanentError,
    SoftTimeLimitExceeded,
)
from mirt.store.tables import deliveries, inbox
from mirt.task_names import TaskName
from mirt.texts import APOLOGY
from tests.unit.business import mail, rows
from tests.unit.turns.conftest import Shop


def failed_delivery(shop: Shop, task_id: str) -> None:
    """Let the turn be answered, its reply be refused, and the turn fail for it."""
    shop.console.script = [PermanentError("blocked", ErrorCode.CHANNEL_REFUSED)]
    shop.receive(task_id)
    with pytest.raises(PermanentError):
        shop.answer(task_id)
    shop.clock.advance(seconds=60)
    shop.fails_for_good(task_id)


def test_the_customer_is_owed_one_apology(shop: Shop) -> None:
    shop.receive("t1", "t2")
    shop.agent.script = [ExternalServiceError("llm", "502")]
    with pytest.raises(ExternalServiceError):
        shop.answer("t1")
    shop.clock.advance(seconds=60)
    [apology] = shop.fails_for_good("t1")
    shop.speak(apology)
    assert shop.shown == [("7", APOLOGY)]
    assert [row.state for row in rows(shop.database, inbox)] == ["failed", "failed"]


def test_an_apology_comes_before_the_reply_to_a_later_message(shop: Shop) -> None:
    shop.receive("t1")
    [apology] = shop.fails_for_good("t1")
    assert shop.head() == apology.task_id
    shop.receive("t2")
    assert shop.answer("t2").parked
    [following] = shop.speak(apology).to_publish
    shop.answer(following.task_id)
    assert shop.shown == [("7", APOLOGY), ("7", "answer 1")]


def test_mail_after_a_failed_turn_was_taken_is_not_failed_with_it(shop: Shop) -> None:
    shop.receive("t1")
    shop.agent.script = [ExternalServiceError("llm", "502")]
    with pytest.raises(ExternalServiceError):
        shop.answer("t1")
    shop.receive("t2")
    shop.clock.advance(seconds=60)
    shop.fails_for_good("t1")
    assert (shop.state("t1"), shop.state("t2")) == ("failed", "waiting")


def test_a_customer_who_got_the_answer_is_owed_no_apology(shop: Shop) -> None:
    failed_delivery(shop, "t1")
    assert [one.actor for one in shop.published] == ["process_and_respond"]
    assert (shop.shown, shop.head(), shop.state("t1")) == ([], None, "answered")


@pytest.mark.parametrize(
    "error", [OutcomeUnknownError("telegram", "no answer"), SoftTimeLimitExceeded()]
)
def test_a_customer_who_may_have_the_answer_gets_no_apology(shop: Shop, error: Exception) -> None:
    shop.console.script = [error]
    shop.receive("t1")
    with pytest.raises(type(error)):
        shop.answer("t1")
    shop.clock.advance(seconds=60)
    assert shop.fails_for_good("t1") == []
    assert [(row.state, row.unknown) for row in rows(shop.database, deliveries)] == [("failed", 1)]
    assert shop.head() is None


def test_a_part_that_was_being_sent_when_the_worker_was_lost_may_have_arrived(shop: Shop) -> None:
    shop.receive("t1")
    shop.console.script = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        shop.answer("t1")
    shop.clock.advance(seconds=60)
    assert shop.fails_for_good("t1") == []


def test_a_turn_whose_reply_is_stored_may_continue(shop: Shop) -> None:
    shop.receive("t1")
    with shop.database.transaction() as tx:
        assert not shop.failed_turns.may_continue(tx, "t1")
    shop.console.script = [SoftTimeLimitExceeded()]
    with pytest.raises(SoftTimeLimitExceeded):
        shop.answer("t1")
    with shop.database.transaction() as tx:
        assert shop.failed_turns.may_continue(tx, "t1")


def test_a_stored_reply_that_nobody_delivers_may_continue_too(shop: Shop) -> None:
    shop.receive("t1", actor=TaskName.PROCESS_MESSAGE)
    shop.answer(mail("t1", actor=TaskName.PROCESS_MESSAGE))
    with shop.database.transaction() as tx:
        assert shop.failed_turns.may_continue(tx, "t1")


def test_a_caller_who_waits_for_the_result_is_owed_no_apology(shop: Shop) -> None:
    shop.receive("t1", actor=TaskName.PROCESS_MESSAGE)
    shop.receive("t2", actor=TaskName.PROCESS_MESSAGE)
    [following] = shop.fails_for_good("t1")
    assert following.task_id == "t2"
    assert rows(shop.database, deliveries) == []


def test_failing_twice_owes_no_second_apology(shop: Shop) -> None:
    shop.receive("t1")
    shop.fails_for_good("t1")
    with shop.database.transaction() as tx:
        assert shop.failed_turns.failed(tx, "t1") == []
    assert len(rows(shop.database, deliveries)) == 1


def test_an_apology_that_fails_too_lets_the_next_turn_begin(shop: Shop) -> None:
    shop.receive("t1")
    [apology] = shop.fails_for_good("t1")
    shop.receive("t2")
    with shop.database.transaction() as tx:
        [following] = shop.failed_turns.failed(tx, apology.task_id)
    assert (following.task_id, shop.head()) == ("t2", "t2")


def test_a_task_that_nobody_knows_owes_nothing(shop: Shop) -> None:
    with shop.database.transaction() as tx:
        assert shop.failed_turns.failed(tx, "nobody's") == []


def test_a_replayed_turn_is_answered_with_all_that_it_had_taken(shop: Shop) -> None:
    shop.agent.script = [ExternalServiceError("llm", "502")]
    shop.receive("t1", "t2")
    with pytest.raises(ExternalServiceError):
        shop.answer("t1")
    shop.clock.advance(seconds=60)
    [apology] = shop.fails_for_good("t1")
    shop.speak(apology)
    assert shop.replay("t1")
    shop.answer("t1")
    assert shop.agent.asked[-1] == (["t1", "t2"], None)
    assert shop.shown[-1] == ("7", "answer 2")
    assert shop.head() is None


def test_a_replayed_turn_waits_for_the_turn_that_runs_and_comes_next(shop: Shop) -> None:
    shop.receive("t1")
    [apology] = shop.fails_for_good("t1")
    shop.receive("t2", "t3", text="later")
    shop.speak(apology)
    shop.agent.meanwhile = lambda: shop.replay("t1") if len(shop.agent.asked) == 1 else None
    [following] = shop.answer("t2").to_publish
    assert following.task_id == "t1"
    shop.answer("t1")
    assert [texts[-1] for texts, _ in shop.agent.asked] == ["later", "t1"]
    assert shop.head() is None


def test_a_replayed_turn_is_not_answered_within_a_later_one(shop: Shop) -> None:
    shop.receive("t1")
    [apology] = shop.fails_for_good("t1")
    shop.receive("t2")
    shop.speak(apology)
    assert not shop.replay("t1")
    [following] = shop.answer("t2").to_publish
    assert (following.task_id, shop.agent.asked) == ("t1", [(["t2"], None)])


def test_a_replayed_turn_that_was_answered_is_only_delivered(shop: Shop) -> None:
    failed_delivery(shop, "t1")
    assert shop.replay("t1")
    shop.answer("t1")
    assert shop.shown == [("7", "answer 1")]
    assert len(shop.agent.asked) == 1


def test_a_replayed_turn_that_fails_again_owes_no_second_apology(shop: Shop) -> None:
    shop.receive("t1")
    [apology] = shop.fails_for_good("t1")
    shop.speak(apology)
    assert shop.replay("t1")
    assert shop.fails_for_good("t1") == []
    assert shop.shown == [("7", APOLOGY)]
    shop.receive("t2")
    assert shop.answer("t2").result is not None


def test_a_reply_that_could_not_be_brought_in_time_is_apologised_for(shop: Shop) -> None:
    shop.console.script = [ExternalServiceError("telegram", "502")]
    shop.receive("t1")
    with pytest.raises(ExternalServiceError):
        shop.answer("t1")
    shop.clock.advance(seconds=60)
    [apology] = shop.fails_for_good("t1")
    assert [row.state for row in rows(shop.database, deliveries)] == ["failed", "pending"]
    shop.speak(apology)
    assert shop.shown == [("7", APOLOGY)]
