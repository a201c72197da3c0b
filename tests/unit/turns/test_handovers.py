"""A person takes a conversation over, answers it and hands it back; the bot is silent meanwhile."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from mirt.delay_notices import DelayNotices
from mirt.deliveries import Deliveries
from mirt.errors import ErrorCode, ExternalServiceError, PermanentError, RateLimitError
from mirt.llm import Action
from mirt.operators import Door, Operator, acting_as
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shared.cooldowns import NoCooldowns
from mirt.store.shop.handovers import MOVES, HandoverState, Move
from mirt.store.tables import audit, deliveries, handover_events, history, turns
from mirt.task_names import TaskName
from tests.unit.business import mail, rows
from tests.unit.turns.conftest import Shop

OLENA = Operator("olena", Door.PAGE)


def take_over(shop: Shop) -> None:
    with acting_as(OLENA):
        shop.handovers.take_over("s")


def say(shop: Shop, text: str = "Це Олена", **values: Any) -> list[TaskMessage]:
    with acting_as(OLENA):
        return list(shop.handovers.say("s", text, **values).to_publish)


def hand_back(shop: Shop) -> list[TaskMessage]:
    with acting_as(OLENA):
        return list(shop.handovers.hand_back("s").to_publish)


def texts(shop: Shop) -> list[str]:
    return [text for _, text in shop.shown]


def said(shop: Shop) -> list[tuple[str, str, str | None]]:
    return [(line.role, line.content, line.said_by) for line in rows(shop.database, history)]


def take_over_while_the_agent_thinks(shop: Shop) -> None:
    shop.receive("t1")
    shop.agent.meanwhile = lambda: take_over(shop)
    shop.answer("t1")
    shop.agent.meanwhile = lambda: None


def test_messages_wait_for_the_person_and_no_turn_starts(shop: Shop) -> None:
    shop.receive("t0")
    shop.answer("t0")
    shop.published.clear()
    take_over(shop)
    shop.receive("t1", "t2", "t3")
    assert shop.published == []
    assert shop.conversations.repair() == []
    assert len(shop.agent.asked) == 1
    assert [shop.state(one) for one in ("t1", "t2", "t3")] == ["waiting"] * 3


def test_replies_of_a_person_arrive_in_order_and_are_recorded_as_theirs(shop: Shop) -> None:
    shop.receive("t1")
    take_over(shop)
    [first] = say(shop, "Доброго дня")
    assert say(shop, "Це Олена") == []
    [second] = shop.speak(first).to_publish
    assert shop.speak(second).to_publish == []
    assert texts(shop) == ["Доброго дня", "Це Олена"]
    assert said(shop) == [
        ("user", "t1", None),
        ("assistant", "Доброго дня", "olena"),
        ("assistant", "Це Олена", "olena"),
    ]
    assert (shop.state("t1"), shop.head()) == ("answered", None)


def test_messages_after_the_last_reply_are_answered_together_when_it_is_handed_back(
    shop: Shop,
) -> None:
    shop.receive("t1")
    take_over(shop)
    [reply] = say(shop)
    shop.speak(reply)
    shop.receive("t2", "t3")
    [head] = hand_back(shop)
    assert head.task_id == "t2"
    shop.answer("t2")
    assert shop.agent.asked == [(["t1", "Це Олена", "t2", "t3"], None)]
    assert texts(shop) == ["Це Олена", "answer 1"]


def test_a_message_that_the_person_had_not_seen_is_answered_by_the_bot(shop: Shop) -> None:
    shop.receive("t1", "t2")
    take_over(shop)
    [reply] = say(shop, seen=1)
    shop.speak(reply)
    assert (shop.state("t1"), shop.state("t2")) == ("answered", "waiting")
    [head] = hand_back(shop)
    shop.answer(head.task_id)
    assert shop.agent.asked == [(["t1", "Це Олена", "t2"], None)]


def test_a_task_that_is_under_way_to_a_worker_finds_no_turn(shop: Shop) -> None:
    shop.receive("t1")
    take_over(shop)
    assert shop.answer("t1").parked
    assert (shop.agent.asked, shop.shown) == ([], [])
    [head] = hand_back(shop)
    shop.answer(head.task_id)
    assert texts(shop) == ["answer 1"]


def test_the_answer_of_a_turn_under_way_is_stored_and_withheld(shop: Shop) -> None:
    take_over_while_the_agent_thinks(shop)
    assert shop.shown == []
    assert [row.reply for row in rows(shop.database, turns)] == ["answer 1"]
    assert [row.state for row in rows(shop.database, deliveries)] == ["withheld"]
    assert (said(shop), shop.state("t1")) == ([], "waiting")


def test_a_withheld_answer_is_sent_and_not_paid_twice_if_nobody_has_said_anything(
    shop: Shop,
) -> None:
    take_over_while_the_agent_thinks(shop)
    [head] = hand_back(shop)
    assert shop.answer(head.task_id).result is not None
    assert texts(shop) == ["answer 1"]
    assert len(shop.agent.asked) == 1
    assert said(shop) == [("user", "t1", None), ("assistant", "answer 1", None)]
    assert (shop.state("t1"), shop.head()) == ("answered", None)


def test_a_withheld_answer_stays_withheld_if_more_was_written(shop: Shop) -> None:
    take_over_while_the_agent_thinks(shop)
    shop.receive("t2")
    [head] = hand_back(shop)
    shop.answer(head.task_id)
    assert texts(shop) == ["answer 2"]
    assert shop.agent.asked[1] == (["t1", "t2"], None)
    assert sorted(row.state for row in rows(shop.database, deliveries)) == ["sent", "withheld"]


def test_a_withheld_answer_stays_withheld_if_the_person_has_answered(shop: Shop) -> None:
    take_over_while_the_agent_thinks(shop)
    [reply] = say(shop)
    shop.speak(reply)
    assert hand_back(shop) == []
    assert texts(shop) == ["Це Олена"]
    assert said(shop) == [("user", "t1", None), ("assistant", "Це Олена", "olena")]


def test_an_answer_that_comes_after_the_persons_is_withheld(shop: Shop) -> None:
    def answer_first() -> None:
        take_over(shop)
        shop._publish(*say(shop))
        hand_back(shop)

    shop.receive("t1")
    shop.agent.meanwhile = answer_first
    shop.answer("t1")
    shop.speak(shop.published[-1])
    assert texts(shop) == ["Це Олена"]
    assert (shop.state("t1"), shop.head()) == ("answered", None)


def test_a_turn_that_was_taken_and_handed_back_while_the_agent_thinks_goes_on(shop: Shop) -> None:
    def change_ones_mind() -> None:
        take_over(shop)
        assert hand_back(shop) == []

    shop.receive("t1")
    shop.agent.meanwhile = change_ones_mind
    shop.answer("t1")
    assert texts(shop) == ["answer 1"]
    assert shop.head() is None


def test_a_reply_that_waits_for_its_retry_is_withheld(shop: Shop) -> None:
    shop.receive("t1")
    shop.console.script = [ExternalServiceError("telegram", "502")]
    with pytest.raises(ExternalServiceError):
        shop.answer("t1")
    take_over(shop)
    assert (said(shop), shop.state("t1"), shop.head()) == ([], "waiting", None)
    shop.claim_again("t1")
    [reply] = say(shop)
    shop.speak(reply)
    assert texts(shop) == ["Це Олена"]


def test_a_part_under_way_is_followed_by_the_persons_reply_and_no_further_part(
    shop: Shop,
) -> None:
    def meanwhile() -> None:
        take_over(shop)
        assert say(shop) == []

    shop.agent.script = [f"{'a' * 4096}\n\n{'b' * 100}"]
    shop.receive("t1")
    send = shop.console.send

    def send_and_take_over(*args: Any, **values: Any) -> Any:
        receipt = send(*args, **values)
        if len(shop.shown) == 1:
            meanwhile()
        return receipt

    shop.console.send = send_and_take_over  # type: ignore[method-assign]
    [reply] = shop.answer("t1").to_publish
    shop.speak(reply)
    assert texts(shop) == ["a" * 4096, "Це Олена"]
    assert [row.state for row in rows(shop.database, deliveries)] == ["sent", "withheld"]


def test_a_part_that_failed_while_the_person_answered_is_not_sent_again(shop: Shop) -> None:
    def refuse(*_args: Any, **_values: Any) -> Any:
        take_over(shop)
        assert say(shop) == []
        shop.console.send = send  # type: ignore[method-assign]
        raise RateLimitError("429", retry_after=1)

    send = shop.console.send
    shop.console.send = refuse  # type: ignore[method-assign]
    shop.receive("t1")
    with pytest.raises(RateLimitError):
        shop.answer("t1")
    lease = shop.claim_again("t1")
    [reply] = shop.turns.answer(lease, mail("t1")).to_publish
    shop.speak(reply)
    assert texts(shop) == ["Це Олена"]
    assert said(shop) == [("user", "t1", None), ("assistant", "Це Олена", "olena")]
    assert shop.head() is None


def test_a_part_that_failed_after_a_takeover_leaves_its_message_to_the_person(shop: Shop) -> None:
    def refuse(*_args: Any, **_values: Any) -> Any:
        take_over(shop)
        shop.console.send = send  # type: ignore[method-assign]
        raise RateLimitError("429", retry_after=1)

    send = shop.console.send
    shop.console.send = refuse  # type: ignore[method-assign]
    shop.receive("t1")
    with pytest.raises(RateLimitError):
        shop.answer("t1")
    lease = shop.claim_again("t1")
    assert shop.turns.answer(lease, mail("t1")).to_publish == []
    assert (shop.state("t1"), shop.head(), said(shop)) == ("waiting", None, [])
    [head] = hand_back(shop)
    shop.answer(head.task_id)
    assert texts(shop) == ["answer 1"]
    assert len(shop.agent.asked) == 1


def test_the_actions_of_a_withheld_answer_wait_with_it(shop: Shop) -> None:
    wanted = Action("set_reminders", {"wanted": False})
    answer = shop.agent.answer

    def answer_with_action(*args: Any, **values: Any) -> Any:
        from dataclasses import replace

        return replace(answer(*args, **values), actions=[wanted])

    shop.agent.answer = answer_with_action  # type: ignore[method-assign]
    take_over_while_the_agent_thinks(shop)
    assert TaskName.SET_FOLLOWUPS not in [task.actor for task in shop.published]
    [head] = hand_back(shop)
    outcome = shop.answer(head.task_id)
    assert [task.actor for task in outcome.to_publish] == [TaskName.SET_FOLLOWUPS]


def test_a_turn_that_fails_for_good_apologises_to_nobody_who_has_a_person(shop: Shop) -> None:
    shop.receive("t1")
    take_over(shop)
    assert shop.fails_for_good("t1") == []
    assert shop.shown == []
    [reply] = say(shop)
    shop.speak(reply)
    assert said(shop)[0] == ("user", "t1", None)


def test_an_apology_that_was_not_sent_yet_is_withheld(shop: Shop) -> None:
    shop.receive("t1")
    [apology] = shop.fails_for_good("t1")
    take_over(shop)
    [reply] = say(shop)
    shop.speak(reply)
    assert shop.speak(apology).result is not None
    assert texts(shop) == ["Це Олена"]


def test_a_replayed_turn_waits_for_the_person(shop: Shop) -> None:
    shop.receive("t1")
    [apology] = shop.fails_for_good("t1")
    shop.speak(apology)
    take_over(shop)
    assert not shop.replay("t1")
    assert (shop.state("t1"), shop.head()) == ("waiting", None)


def test_a_delay_notice_is_not_sent(shop: Shop) -> None:
    shop.receive("t1")
    take_over(shop)
    lease = shop.claim(TaskMessage("t1:notice", TaskName.SEND_DELAY_NOTICE))
    channels = {"telegram": shop.console}
    deliveries = Deliveries(shop.database, channels, shop.clock, NoCooldowns())
    notices = DelayNotices(shop.database, deliveries, shop.clock)
    result = notices.send(lease, "s", "t1", platform="telegram", chat_id="7")
    assert result["reason"] == "handed_over"
    assert shop.shown == []


def test_a_text_of_another_program_is_withheld(shop: Shop) -> None:
    shop.receive("t1", session_id="7")
    with acting_as(OLENA):
        shop.handovers.take_over("7")
    kwargs = {"platform": "telegram", "chat_id": "7", "response_text": "Знижка!"}
    lease = shop.claim(TaskMessage("spam", TaskName.SEND_RESPONSE, kwargs=kwargs))
    from mirt.store.shop.deliveries import Delivery

    text = Delivery("spam", "7", "telegram", "7", "Знижка!", "trace")
    result = shop.turns.send_text(lease, text).result
    assert result is not None
    assert (result["status"], shop.shown) == ("withheld", [])


def test_a_caller_without_a_queue_is_told_that_a_person_answers(shop: Shop) -> None:
    shop.receive("t0")
    shop.answer("t0")
    take_over(shop)
    result = shop.dispatch(mail("t1")).result
    assert result is not None
    assert (result["status"], result["response"]) == ("handed_over", "")
    assert shop.state("t1") == "waiting"


def test_a_reply_with_the_same_id_is_said_once(shop: Shop) -> None:
    shop.receive("t1")
    take_over(shop)
    [reply] = say(shop, reply_id="form-1")
    assert say(shop, reply_id="form-1") == []
    shop.speak(reply)
    assert texts(shop) == ["Це Олена"]
    assert shop.head() is None


def test_a_refused_reply_does_not_hold_up_the_next(shop: Shop) -> None:
    shop.receive("t1")
    take_over(shop)
    [first] = say(shop, "1")
    say(shop, "2")
    lease = shop.claim(first)
    with shop.database.transaction() as tx:
        from mirt.store.queue import leases

        leases.mark_dead(tx, lease, error_code="CHANNEL_REFUSED", now=shop.clock())
        [second] = shop.failed_turns.failed(tx, first.task_id)
    shop.speak(second)
    assert texts(shop) == ["2"]


def test_replies_that_wait_are_sent_before_the_bot_answers_again(shop: Shop) -> None:
    shop.receive("t1")
    take_over(shop)
    [first] = say(shop, "1")
    say(shop, "2")
    shop.receive("t2")
    assert hand_back(shop) == []
    [second] = shop.speak(first).to_publish
    [turn] = shop.speak(second).to_publish
    shop.answer(turn.task_id)
    assert texts(shop) == ["1", "2", "answer 1"]


Say = Callable[[Shop], object]


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda shop: shop.handovers.take_over("x"), "none with the id x"),
        (lambda shop: shop.handovers.say("s", "Привіт"), "mirt takeover s"),
        (lambda shop: shop.handovers.hand_back("s"), "the bot answers s already"),
    ],
)
def test_an_act_that_is_impossible_says_why(shop: Shop, act: Say, why: str) -> None:
    shop.receive("t1")
    with pytest.raises(PermanentError, match=why) as refused:
        act(shop)
    refusals = {ErrorCode.UNKNOWN_CONVERSATION, ErrorCode.HANDOVER_REFUSED}
    assert refused.value.error_code in refusals


@pytest.mark.parametrize("text", ["", " \n", "a" * 8_001, "a\0b"])
def test_a_text_that_cannot_be_sent_is_refused(shop: Shop, text: str) -> None:
    shop.receive("t1")
    take_over(shop)
    with pytest.raises(PermanentError, match="text"):
        say(shop, text)
    assert rows(shop.database, deliveries) == []


def test_every_act_is_in_the_audit_and_every_move_in_the_events(shop: Shop) -> None:
    shop.receive("t1")
    take_over(shop)
    take_over(shop)
    say(shop)
    shop.clock.now += timedelta(minutes=1)
    hand_back(shop)
    acts = [(row.act, row.operator, row.session_id) for row in rows(shop.database, audit)]
    names = ("takeover", "takeover", "say", "handback")
    assert acts == [(name, "olena", "s") for name in names]
    moves = [(row.act, row.operator) for row in rows(shop.database, handover_events)]
    assert moves == [("take", "olena"), ("hand_back", "olena")]


def test_the_bot_cannot_be_asked_back_by_a_move_that_is_not_in_the_table() -> None:
    assert MOVES[HandoverState.BOT].keys() == {Move.ASK, Move.TAKE}
    reached = {state for moves in MOVES.values() for state in moves.values()}
    assert reached == set(HandoverState) == set(MOVES)
