"""A turn: waiting mail is answered together, once, delivered, and the next turn begins."""

from dataclasses import replace

import pytest
from sqlalchemy import update

from mirt.conversations import TURN_MESSAGES, as_task
from mirt.deliveries import Deliveries
from mirt.errors import (
    ErrorCode,
    ExternalServiceError,
    LeaseLostError,
    OutcomeUnknownError,
    PermanentError,
    SoftTimeLimitExceeded,
)
from mirt.llm.protocol import PHOTO
from mirt.store.engine.database import Database
from mirt.store.queue.leases import Lease
from mirt.store.shared.cooldowns import LocalCooldowns
from mirt.store.shop import mailbox
from mirt.store.shop.deliveries import Delivery
from mirt.store.shop.mailbox import MailState
from mirt.store.tables import deliveries, history, inbox, tasks, turns
from mirt.task_names import TaskName
from tests.unit.business import mail, rows
from tests.unit.turns.conftest import Shop, open_shop


def test_a_message_is_answered_and_the_reply_delivered(shop: Shop) -> None:
    shop.agent.script = ["Вітаю"]
    shop.receive("t1")
    outcome = shop.answer("t1")
    assert outcome.result == {
        "status": "success",
        "session_id": "s",
        "response": "Вітаю",
        "response_length": 5,
        "platform": "telegram",
        "chat_id": "7",
        "delivery": {"status": "sent", "platform": "telegram", "chat_id": "7", "parts": 1},
    }
    assert shop.shown == [("7", "Вітаю")]
    assert (shop.head(), shop.state("t1")) == (None, "answered")


def test_a_caller_who_waits_gets_the_answer_and_nothing_is_delivered(shop: Shop) -> None:
    shop.receive("t1", actor=TaskName.PROCESS_MESSAGE)
    outcome = shop.answer(mail("t1", actor=TaskName.PROCESS_MESSAGE))
    assert outcome.result is not None
    assert "delivery" not in outcome.result
    assert shop.shown == []
    assert rows(shop.database, deliveries) == []


def test_waiting_mail_is_answered_together_and_in_order(shop: Shop) -> None:
    shop.receive("t1", "t3", "t2")
    shop.answer("t1")
    assert shop.agent.asked == [(["t1", "t3", "t2"], None)]
    assert shop.shown == [("7", "answer 1")]
    assert [shop.state(one) for one in ("t1", "t2", "t3")] == ["answered"] * 3


def test_mail_that_a_turn_cannot_take_is_the_next_turn(shop: Shop) -> None:
    everything = [f"t{number}" for number in range(TURN_MESSAGES + 2)]
    shop.receive(*everything)
    [following] = shop.answer("t0").to_publish
    assert following.task_id == f"t{TURN_MESSAGES}"
    assert shop.answer(following.task_id).to_publish == []
    assert shop.agent.asked[0][0] == everything[:TURN_MESSAGES]
    assert shop.agent.asked[1][0][-2:] == everything[TURN_MESSAGES:]


def test_the_next_turn_knows_what_was_said(shop: Shop) -> None:
    for task_id in ("t1", "t2"):
        shop.receive(task_id)
        shop.answer(task_id)
    assert shop.agent.asked[1] == (["t1", "answer 1", "t2"], None)


def test_a_conversation_knows_nothing_of_another(shop: Shop) -> None:
    shop.receive("t1", session_id="one")
    shop.answer(mail("t1", session_id="one"))
    shop.receive("t2", session_id="two")
    shop.answer(mail("t2", session_id="two"))
    assert shop.agent.asked[1] == (["t2"], None)


def test_a_photo_is_told_to_the_agent_with_its_caption(shop: Shop) -> None:
    photo = mail("t1", "такий є?", metadata={"photo": {"file_id": "f"}})
    shop.receive("t1", text=photo.text, metadata=photo.metadata)
    shop.answer(photo)
    assert shop.agent.asked == [([f"{PHOTO} такий є?"], None)]


def test_a_message_whose_turn_it_is_not_is_parked_without_a_trace(shop: Shop) -> None:
    shop.receive("t1", "t2")
    outcome = shop.answer("t2")
    assert (outcome.parked, outcome.result) == (True, None)
    assert shop.agent.asked == []
    assert shop.answer("t1").result is not None


def test_a_message_that_was_answered_in_anothers_turn_has_that_answer(shop: Shop) -> None:
    shop.receive("t1", "t2")
    shop.answer("t1")
    outcome = shop.answer("t2")
    assert outcome.result is not None
    assert outcome.result["response"] == "answer 1"
    assert len(shop.shown) == 1


def test_a_message_that_came_straight_to_the_broker_enters_the_mailbox(shop: Shop) -> None:
    assert shop.answer("t1").result is not None
    assert (shop.state("t1"), shop.head()) == ("answered", None)


def test_a_reply_is_stored_before_it_is_delivered(shop: Shop) -> None:
    shop.console.script = [ExternalServiceError("telegram", "502")]
    shop.receive("t1")
    with pytest.raises(ExternalServiceError):
        shop.answer("t1")
    assert [row.reply for row in rows(shop.database, turns)] == ["answer 1"]
    assert [row.state for row in rows(shop.database, deliveries)] == ["pending"]
    assert [row.content for row in rows(shop.database, history)] == ["t1", "answer 1"]
    assert shop.head() == "t1"


def test_the_next_attempt_delivers_and_does_not_ask_again(shop: Shop) -> None:
    shop.console.script = [ExternalServiceError("telegram", "502")]
    shop.receive("t1")
    with pytest.raises(ExternalServiceError):
        shop.answer("t1")
    shop.clock.advance(seconds=60)
    shop.answer("t1")
    assert shop.shown == [("7", "answer 1")]
    assert len(shop.agent.asked) == 1


def test_a_message_that_comes_while_a_reply_is_delivered_is_the_next_turn(shop: Shop) -> None:
    shop.console.script = [ExternalServiceError("telegram", "502")]
    shop.receive("t1")
    with pytest.raises(ExternalServiceError):
        shop.answer("t1")
    shop.receive("t2")
    shop.clock.advance(seconds=60)
    [following] = shop.answer("t1").to_publish
    shop.answer(following.task_id)
    assert shop.shown == [("7", "answer 1"), ("7", "answer 2")]


def test_a_part_whose_outcome_is_unknown_is_counted_and_sent_again(shop: Shop) -> None:
    shop.console.script = [OutcomeUnknownError("telegram", "no answer")]
    shop.receive("t1")
    with pytest.raises(OutcomeUnknownError):
        shop.answer("t1")
    shop.clock.advance(seconds=60)
    shop.answer("t1")
    [row] = rows(shop.database, deliveries)
    assert (row.state, row.unknown) == ("sent", 1)


def test_an_agent_that_fails_leaves_everything_waiting(shop: Shop) -> None:
    shop.agent.script = [ExternalServiceError("llm", "502"), "at last"]
    shop.receive("t1", "t2")
    with pytest.raises(ExternalServiceError):
        shop.answer("t1")
    assert [row.state for row in rows(shop.database, inbox)] == ["waiting", "waiting"]
    assert rows(shop.database, history) == []
    shop.receive("t3")
    shop.clock.advance(seconds=60)
    shop.answer("t1")
    assert shop.agent.asked[1] == (["t1", "t2", "t3"], None)
    assert shop.shown == [("7", "at last")]


def test_a_worker_that_lost_its_lease_while_the_agent_thought_stores_nothing(shop: Shop) -> None:
    shop.receive("t1")
    late = shop.claim(shop.published[0], owner="late")
    shop.clock.advance(seconds=60)
    shop.agent.meanwhile = lambda: shop.claim(shop.published[0], owner="other")
    with pytest.raises(LeaseLostError):
        shop.turns.answer(late, mail("t1"))
    assert len(shop.agent.asked) == 1
    assert rows(shop.database, turns) == []
    assert shop.shown == []


def test_a_message_that_comes_while_the_agent_thinks_is_the_next_turn(shop: Shop) -> None:
    shop.receive("t1")
    shop.agent.meanwhile = lambda: shop.receive("t2")
    [following] = shop.answer("t1").to_publish
    assert shop.agent.asked == [(["t1"], None)]
    assert (following.task_id, shop.head(), shop.state("t2")) == ("t2", "t2", "waiting")


def test_the_result_of_a_message_is_known_when_it_was_answered(shop: Shop) -> None:
    shop.receive("t1", "t2", actor=TaskName.PROCESS_MESSAGE)
    letters = [mail(one, actor=TaskName.PROCESS_MESSAGE) for one in ("t1", "t2")]
    assert [shop.turns.result_of(one) for one in letters] == [None, None]
    expected = shop.answer(letters[0]).result
    assert [shop.turns.result_of(one) for one in letters] == [expected, expected]


def test_a_head_whose_message_has_failed_is_not_answered(shop: Shop) -> None:
    shop.receive("t1")
    with shop.database.transaction() as tx:
        state = MailState.FAILED
        mailbox.settle(tx, turn_id="t1", task_id="t1", state=state, now=shop.clock())
    with pytest.raises(PermanentError) as refusal:
        shop.answer("t1")
    assert refusal.value.error_code == ErrorCode.INVALID_INPUT
    assert shop.agent.asked == []


TWO_PARTS = "a" * 4000 + " " + "b" * 4000


def test_a_worker_that_loses_its_lease_between_two_parts_sends_no_further_part(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.agent.script = [TWO_PARTS]
    shop.receive("t1")
    show = shop.console.send

    def send(chat_id: str, part: str, *, reply_to: str | None = None) -> object:
        receipt = show(chat_id, part, reply_to=reply_to)
        with shop.database.transaction() as tx:
            tx.execute(update(tasks).values(owner="another", fence=2))
        return receipt

    monkeypatch.setattr(shop.console, "send", send)
    with pytest.raises(LeaseLostError):
        shop.answer("t1")
    assert [text[0] for _, text in shop.shown] == ["a"]


def test_only_the_first_part_of_a_reply_quotes_the_message(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.agent.script = [TWO_PARTS]
    quoted: list[str | None] = []
    show = shop.console.send

    def send(chat_id: str, part: str, *, reply_to: str | None = None) -> object:
        quoted.append(reply_to)
        return show(chat_id, part, reply_to=reply_to)

    monkeypatch.setattr(shop.console, "send", send)
    one = mail("t1", metadata={"reply_to": "55"})
    shop.receive("t1", metadata={"reply_to": "55"})
    shop.answer(one)
    assert quoted == ["55", None]


def test_a_turn_that_loses_its_lease_while_its_last_part_is_sent_ends_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.receive("t1")
    show = shop.console.send

    def send(chat_id: str, part: str, *, reply_to: str | None = None) -> object:
        with shop.database.transaction() as tx:
            tx.execute(update(tasks).values(owner="another", fence=2))
        return show(chat_id, part, reply_to=reply_to)

    monkeypatch.setattr(shop.console, "send", send)
    with pytest.raises(LeaseLostError):
        shop.answer("t1")
    assert shop.head() == "t1"
    [task] = rows(shop.database, tasks)
    assert (task.state, task.owner) == ("running", "another")


def test_a_message_without_a_row_is_not_taken_by_a_worker_that_lost_its_lease(shop: Shop) -> None:
    lease = shop.claim(as_task(mail("t1")))
    with shop.database.transaction() as tx:
        tx.execute(update(tasks).values(owner="another", fence=2))
    with pytest.raises(LeaseLostError):
        shop.turns.answer(lease, mail("t1"))
    assert (rows(shop.database, inbox), shop.agent.asked) == ([], [])


def test_a_fixed_text_is_not_stored_by_a_worker_that_lost_its_lease(shop: Shop) -> None:
    lease = shop.claim(as_task(mail("t1")))
    with shop.database.transaction() as tx:
        tx.execute(update(tasks).values(owner="another", fence=2))
    with pytest.raises(LeaseLostError):
        shop.turns.send_text(lease, Delivery("t1", "s", "telegram", "7", "hello", "trace"))
    assert (rows(shop.database, deliveries), shop.shown) == ([], [])


def begun_part(shop: Shop) -> Lease:
    """Leave a delivery as a worker does that dies while its part is being sent."""
    shop.receive("t1")
    lease = shop.claim(as_task(mail("t1")))
    shop.console.script = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        shop.turns.answer(lease, mail("t1"))
    return lease


def test_a_part_that_was_being_sent_when_its_worker_died_is_unknown_and_sent_again(
    shop: Shop,
) -> None:
    begun_part(shop)
    shop.turns.answer(shop.claim_again("t1"), mail("t1"))
    [sent] = rows(shop.database, deliveries)
    assert (sent.state, sent.unknown, sent.parts_sent) == ("sent", 1, 1)
    assert shop.shown == [("7", "answer 1")]


def test_a_worker_that_lost_its_lease_does_not_touch_the_delivery(shop: Shop) -> None:
    lease = begun_part(shop)
    with shop.database.transaction() as tx:
        tx.execute(update(tasks).values(owner="another", fence=2))
    with pytest.raises(LeaseLostError):
        shop.turns.answer(replace(lease, opened=None), mail("t1"))
    with pytest.raises(LeaseLostError):
        shop.turns.send_text(lease, Delivery("t1", "s", "telegram", "7", "hello", "trace"))
    [begun] = rows(shop.database, deliveries)
    assert (begun.state, begun.unknown) == ("sending", 0)
    assert shop.shown == []


def test_a_part_that_meets_the_soft_limit_is_unknown(shop: Shop) -> None:
    shop.receive("t1")
    shop.console.script = [SoftTimeLimitExceeded()]
    with pytest.raises(SoftTimeLimitExceeded):
        shop.answer("t1")
    [begun] = rows(shop.database, deliveries)
    assert (begun.state, begun.unknown) == ("pending", 1)


def test_during_a_cooldown_no_part_is_announced_with_the_reply(database: Database) -> None:
    cooldowns = LocalCooldowns()
    with open_shop(database) as shop:
        deliveries = Deliveries(database, {"telegram": shop.console}, shop.clock, cooldowns)
        reply = Delivery("t1", "s", "telegram", "7", "hello", "trace")
        assert deliveries.announced(reply).state == "sending"
        cooldowns.start(shop.console.rate_limit_scope("7"), 60)
        assert deliveries.announced(reply).state == "pending"
