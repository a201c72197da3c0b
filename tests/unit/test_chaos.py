"""The plans of a chaos run follow from the seed, and its verdict sees what it is to see."""

from dataclasses import dataclass
from itertools import pairwise

from tests.chaos import load, schedule
from tests.chaos.facts import Completion, Dead, Delivery, Facts, Told
from tests.chaos.load import Sent, names_in, text_of
from tests.chaos.storm import Suffered
from tests.chaos.verdict import Verdict, judge
from tests.chaos.visits import FIRST_HANDED_OVER as CHAT
from tests.chaos.visits import HandedOver


@dataclass(frozen=True)
class Kind:
    name: str
    target: str
    lasts: tuple[float, float] = (1, 4)


KINDS = [Kind("a", "workers"), Kind("b", "workers"), Kind("c", "redis"), Kind("d", "rabbitmq")]


def faults_of(seed: int) -> list[schedule.Planned]:
    return schedule.plan(KINDS, seed=seed, faults=9, seconds=90)


def load_of(seed: int) -> dict[int, list[load.Writing]]:
    return load.plan(seed=seed, messages=50, chats=7, seconds=60)


def accepted(*names: str) -> dict[str, Sent]:
    return {name: Sent(first_at=1.0, accepted_at=1.0 + n) for n, name in enumerate(names)}


def reply(*names: str, at: float = 5.0) -> Told:
    chat = names[0].partition("-")[0]
    return Told(at, chat, "echo: " + "\n".join(f"#{name}" for name in names))


def delivery(told: Told, unknown: int = 0) -> Delivery:
    return Delivery("t", told.chat, told.text, "sent", unknown)


def dead_letter(*names: str, code: str = "RETRIES_EXHAUSTED") -> Dead:
    return Dead("t", code, 4, "ExternalServiceError", 9.0, names)


def test_the_plan_of_faults_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert faults_of(1) == faults_of(1)
    assert faults_of(1) != faults_of(2)


def test_the_plan_of_messages_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert load_of(1) == load_of(1)
    assert load_of(1) != load_of(2)


def test_every_kind_of_fault_comes_before_any_comes_again() -> None:
    for seed in range(20):
        first = sorted(faults_of(seed), key=lambda one: one.at_s)[: len(KINDS)]
        assert len({one.kind for one in first}) >= len(KINDS) - 1, seed
        assert {one.kind for one in faults_of(seed)} == {kind.name for kind in KINDS}


def test_faults_are_spread_over_the_whole_time() -> None:
    for seed in range(20):
        begins = [one.at_s for one in faults_of(seed)]
        assert begins == sorted(begins)
        assert min(begins) >= schedule.CALM_S
        assert max(begins) < 90
        assert max(later - sooner for sooner, later in pairwise(begins)) < 30


def test_all_messages_are_planned_each_chat_in_its_order() -> None:
    planned = load_of(1)
    assert sum(len(mine) for mine in planned.values()) == 50
    for mine in planned.values():
        assert [one.number for one in mine] == list(range(len(mine)))
        assert [one.at_s for one in mine] == sorted(one.at_s for one in mine)


def test_a_text_tells_the_ids_within_it() -> None:
    assert names_in(f"echo: {text_of(7, 3)}\n{text_of(7, 12)}") == ["7-3", "7-12"]


def test_a_run_answered_once_and_in_order_is_kept() -> None:
    told = [reply("1-0", "1-1"), reply("2-0"), reply("1-2")]
    verdict = judge(Facts(accepted("1-0", "1-1", "1-2", "2-0"), told, deliveries=map_all(told)))
    assert verdict.kept
    assert (verdict.accepted, verdict.answered, verdict.slowest_s) == (4, 4, 4.0)


def map_all(told: list[Told]) -> list[Delivery]:
    return [delivery(one) for one in told]


def test_an_accepted_message_in_no_reply_is_lost() -> None:
    verdict = judge(Facts(accepted("1-0", "1-1"), [reply("1-0")]))
    assert verdict.lost == ["1-1"]
    assert not verdict.kept


def test_a_message_that_was_never_accepted_is_named() -> None:
    verdict = judge(Facts({"1-0": Sent(first_at=1.0)}, []))
    assert (verdict.not_accepted, verdict.lost, verdict.kept) == (["1-0"], [], False)


def test_a_dead_letter_is_a_failure_for_good_and_no_loss() -> None:
    verdict = judge(Facts(accepted("1-0"), [], dead=[dead_letter("1-0")]))
    assert (verdict.failed, verdict.failed_unexplained, verdict.lost) == (["1-0"], [], [])


def test_a_failure_that_exhausted_retries_do_not_explain_is_named() -> None:
    verdict = judge(Facts(accepted("1-0"), [], dead=[dead_letter("1-0", code="WORKER_LOST")]))
    assert verdict.failed_unexplained == ["1-0"]


def test_a_dead_letter_that_exhausted_retries_do_not_explain_is_named_also_if_all_is_answered() -> (
    None
):
    told, letter = [reply("1-0")], dead_letter("1-0", code="UNEXPECTED")
    verdict = judge(Facts(accepted("1-0"), told, deliveries=map_all(told), dead=[letter]))
    assert (verdict.failed, verdict.dead_without_need, verdict.kept) == ([], ["t"], False)


def test_a_failed_turn_without_an_apology_is_silent() -> None:
    failed = Facts(accepted("1-0"), [], dead=[dead_letter("1-0")])
    assert judge(failed).silent == ["1"]
    assert not judge(failed).kept
    apologised = Facts(accepted("1-0"), [Told(9.0, "1", "Перепрошуємо")], dead=failed.dead)
    assert judge(apologised).silent == []


def test_a_reply_that_is_stored_and_never_sent_is_undelivered() -> None:
    facts = Facts(accepted("1-0"), [], dead=[dead_letter("1-0")], stored={"1-0": 3.0})
    assert (judge(facts).undelivered, judge(facts).silent) == (["1-0"], [])


def test_a_reply_sent_twice_is_doubled() -> None:
    told = [reply("1-0"), reply("1-0")]
    verdict = judge(Facts(accepted("1-0"), told, deliveries=[delivery(told[0])]))
    assert verdict.doubled == ["1-0"]
    assert not verdict.kept


def test_a_reply_sent_twice_and_recorded_as_unknown_once_is_known() -> None:
    told = [reply("1-0"), reply("1-0")]
    verdict = judge(Facts(accepted("1-0"), told, deliveries=[delivery(told[0], unknown=1)]))
    assert (verdict.doubled, verdict.doubled_known, verdict.kept) == ([], 1, True)


def test_a_reply_sent_three_times_and_recorded_as_unknown_once_is_doubled() -> None:
    told = [reply("1-0")] * 3
    verdict = judge(Facts(accepted("1-0"), told, deliveries=[delivery(told[0], unknown=1)]))
    assert (verdict.doubled, verdict.doubled_known) == (["1-0"], 1)


def test_a_message_answered_in_two_different_replies_is_doubled_whatever_is_unknown() -> None:
    told = [reply("1-0"), reply("1-0", "1-1")]
    deliveries = [delivery(one, unknown=1) for one in told]
    assert judge(Facts(accepted("1-0", "1-1"), told, deliveries=deliveries)).doubled == ["1-0"]


def test_an_apology_sent_twice_is_doubled() -> None:
    sorry = Told(9.0, "1", "Перепрошуємо")
    facts = Facts(
        {}, [sorry, sorry], deliveries=[Delivery("t:apology", "1", sorry.text, "sent", 0)]
    )
    assert len(judge(facts).doubled) == 1


def test_two_apologies_for_two_failures_are_not_doubled() -> None:
    sorry = Told(9.0, "1", "Перепрошуємо")
    both = [Delivery(f"{n}:apology", "1", sorry.text, "sent", 0) for n in range(2)]
    assert judge(Facts({}, [sorry, sorry], deliveries=both)).doubled == []


def test_a_reply_that_comes_after_the_reply_to_a_later_message_is_out_of_order() -> None:
    told = [reply("1-0"), reply("1-2"), reply("1-1"), reply("2-0")]
    verdict = judge(Facts(accepted("1-0", "1-1", "1-2", "2-0"), told, deliveries=map_all(told)))
    assert verdict.out_of_order == ["1-1"]
    assert not verdict.kept


def test_the_tenth_message_comes_after_the_ninth() -> None:
    told = [reply("1-9"), reply("1-10")]
    assert judge(Facts(accepted("1-9", "1-10"), told)).out_of_order == []


def test_a_message_asked_of_the_agent_after_its_answer_was_stored_is_paid_twice() -> None:
    asked = [Completion(2.0, ["1-0"]), Completion(4.0, ["1-0"])]
    stored_between = Facts(accepted("1-0"), [], asked, stored={"1-0": 3.0})
    stored_after = Facts(accepted("1-0"), [], asked, stored={"1-0": 5.0})
    assert (judge(stored_between).paid_twice, judge(stored_between).kept) == (["1-0"], False)
    assert (judge(stored_after).paid_twice, judge(stored_after).asked_again) == ([], 1)


def test_an_order_is_lost_if_the_crm_has_it_not_and_no_dead_letter_does() -> None:
    facts = Facts({}, [], ordered=["a", "b", "c"], created=["a"], orders_dead=["b"])
    assert (judge(facts).orders_lost, judge(facts).kept) == (["c"], False)


def test_an_order_that_the_crm_has_twice_is_doubled() -> None:
    facts = Facts({}, [], ordered=["a", "b"], created=["a", "b", "a"])
    assert (judge(facts).orders_doubled, judge(facts).kept) == (["a"], False)


def test_recorded_repetitions_are_kept_up_to_a_share_of_the_turns() -> None:
    told = [reply(f"{chat}-0") for chat in range(1, 301) for _ in range(2)]
    sent = accepted(*(f"{chat}-0" for chat in range(1, 301)))
    deliveries = [delivery(one, unknown=1) for one in told[::2]]
    few = Facts(sent, [*told[:10], *told[10::2]], deliveries=deliveries, turns=300)
    assert (judge(few).doubled, judge(few).doubled_known, judge(few).kept) == ([], 5, True)
    many = Facts(sent, told, deliveries=deliveries, turns=300)
    assert (judge(many).doubled_known, judge(many).kept) == (300, False)


def test_a_followup_is_no_apology() -> None:
    followup = Told(9.0, "1", "Чи ще актуально?")
    sent_followup = Delivery("f", "1", followup.text, "sent", 0)
    failed = Facts(
        accepted("1-0"),
        [followup],
        dead=[dead_letter("1-0")],
        deliveries=[sent_followup],
        followups=["f"],
    )
    assert judge(failed).silent == ["1"]


def test_a_fault_that_failed_or_never_came_is_missing() -> None:
    planned = schedule.Planned("a", 1, 1, 0)
    never, done = Suffered(planned), Suffered(planned, began_at=1, ended_at=2)
    failed = Suffered(planned, began_at=1, ended_at=2, error="not recovered")
    assert [one.has_happened for one in (never, done, failed)] == [False, True, False]


def handed_over(*, said: bool = True) -> HandedOver:
    """A customer whose conversation was handed back at 5.0."""
    sent = {f"{CHAT}-{number}": Sent(first_at=1.0, accepted_at=1.0) for number in (0, 2, 3)}
    return HandedOver(CHAT, done=True, sent=sent, said=said, back_at=5.0)


def verdict_on(customer: HandedOver, *told: Told) -> Verdict:
    return judge(Facts(customer.sent, told, handed_over=[customer], deliveries=map_all(list(told))))


PERSON = Told(3.0, str(CHAT), HandedOver(CHAT).persons_text)


def test_a_conversation_with_one_voice_at_a_time_is_kept() -> None:
    told = reply("800001-0", at=2.0), PERSON, reply("800001-2", "800001-3", at=6.0)
    assert verdict_on(handed_over(), *told).kept


def test_a_reply_of_the_bot_before_the_handback_is_a_second_voice() -> None:
    told = reply("800001-0", at=2.0), PERSON, reply("800001-2", at=4.0), reply("800001-3", at=6.0)
    verdict = verdict_on(handed_over(), *told)
    assert (verdict.two_voices, verdict.kept) == (["800001-2"], False)


def test_a_message_that_the_person_answered_is_not_the_bots() -> None:
    told = reply("800001-0", at=2.0), PERSON, reply("800001-1", "800001-2", "800001-3", at=6.0)
    assert verdict_on(handed_over(), *told).two_voices == ["800001-1"]
    assert verdict_on(handed_over(said=False), *told).kept


def test_a_text_of_a_person_that_never_arrives_is_named() -> None:
    told = reply("800001-0", at=2.0), reply("800001-2", "800001-3", at=6.0)
    verdict = verdict_on(handed_over(), *told)
    assert (verdict.unheard, verdict.kept) == (["800001"], False)


def test_a_forgotten_customer_who_is_found_breaks_the_run() -> None:
    assert not judge(Facts({}, [], remembered=["inbox.text: таємниця900001"])).kept


def test_an_act_of_an_operator_that_never_succeeds_breaks_the_run() -> None:
    assert not judge(Facts({}, [], unfinished=["800001"])).kept
