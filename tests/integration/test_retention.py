"""Old rows go, and no row goes that a waiting task or a dead letter still needs."""

from collections.abc import Callable

import pytest
from sqlalchemy import Table, select

from actors.health import ping
from middleware.dead_letters import replay
from mirt.channels import InboundMessage
from mirt.clock import deadline_in
from mirt.errors import DatabaseError
from mirt.housekeeping import LAST_BATCH_S
from mirt.runtime import current_runtime
from mirt.store.queue.dead_letters import DeadLetterFilter, discard_dead
from mirt.store.tables import (
    conversations,
    dead_letters,
    deliveries,
    followups,
    history,
    inbox,
    orders,
    tasks,
    turns,
)
from mirt.task_names import TaskName
from mirt.texts import FOLLOWUP_TEXTS
from service import dispatcher
from tests.clock import FakeClock
from tests.fakes import FakeServices, Status
from tests.fakes.telegram import refusal
from tests.integration.conftest import Running
from tests.unit.orders.examples import order

Run = Callable[..., Running]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def running(run: Run, clock: FakeClock) -> Running:
    return run("eager", clock=clock)


def count(table: Table) -> int:
    with current_runtime().database.transaction() as tx:
        return len(list(tx.execute(select(table))))


def remove() -> dict[str, int]:
    return current_runtime().housekeeping.remove_old_rows()


def write(text: str) -> None:
    dispatcher.dispatch_message("42", text, "telegram", "42", fire_and_forget=True)


def keep(task_id: str, text: str) -> None:
    """Accept a message without running its task."""
    accepting = current_runtime().conversations
    inbound = InboundMessage(session_id="42", text=text, platform="telegram", chat_id="42")
    actor = TaskName.PROCESS_AND_RESPOND
    accepting.accept(accepting.checked(inbound, task_id=task_id, actor=actor, trace_id="trace"))


def heard(services: FakeServices) -> list[str]:
    """The customer's messages in the last question to the LLM."""
    messages = services.requests("llm")[-1].body["messages"]
    return [one["content"] for one in messages if one["role"] == "user"]


@pytest.mark.parametrize("days", [2, 40, 365])
@pytest.mark.parametrize("retention", [1, 30])
def test_a_follow_up_is_sent_with_its_number_however_late(
    run: Run, services: FakeServices, clock: FakeClock, days: int, retention: int
) -> None:
    running = run("eager", clock=clock, retention_days=retention, followup_delays_hours="1000000")
    write("Є сукня?")
    task_id = dispatcher.schedule_followup("42", 24 * days, chat_id="42")["task_id"]
    clock.advance(days=days - 1)
    remove()
    clock.advance(days=1)
    running.broker.publish_due()
    assert services.sent("42")[1:] == [FOLLOWUP_TEXTS[0]]
    with current_runtime().database.transaction() as tx:
        assert tx.execute(select(followups.c.task_id, followups.c.number)).one() == (task_id, 0)
    clock.advance(days=retention + 1)
    assert remove()["followups"] == 1


def test_the_replay_of_an_old_dead_letter_hears_all_messages_of_its_turn(
    running: Running, services: FakeServices, clock: FakeClock
) -> None:
    for number, text in enumerate(["one", "two", "three"]):
        keep(f"t{number}", text)
    services.misbehave("llm", Status(400))
    clock.advance(seconds=60)
    running.broker.publish_due()
    assert count(dead_letters) == 1
    clock.advance(days=400)
    remove()
    assert replay(running.broker, current_runtime().database, DeadLetterFilter(), clock) == 1
    assert heard(services) == ["one", "two", "three"]


def test_the_replay_of_an_old_dead_letter_asks_for_no_answer_that_is_stored(
    running: Running, services: FakeServices, clock: FakeClock
) -> None:
    services.misbehave("telegram", refusal(400, "Bad Request: chat not found"))
    write("Є сукня?")
    clock.advance(days=400)
    remove()
    assert replay(running.broker, current_runtime().database, DeadLetterFilter(), clock) == 1
    assert (services.sent("42"), len(services.requests("llm"))) == (["echo: Є сукня?"], 1)
    clock.advance(days=31)
    remove()
    assert [count(table) for table in (inbox, deliveries, turns, tasks)] == [0, 0, 0, 0]


def test_a_dead_task_goes_with_all_its_rows_once_its_letter_is_discarded(
    running: Running, services: FakeServices, clock: FakeClock
) -> None:
    services.misbehave("llm", Status(400))
    write("Є сукня?")
    clock.advance(days=31)
    remove()
    assert count(tasks) == 1, "the letter needs its task; that of the apology is gone"
    with current_runtime().database.transaction() as tx:
        discard_dead(tx, DeadLetterFilter(), now=clock.now)
    remove()
    assert [count(table) for table in (inbox, deliveries, turns, tasks)] == [0, 0, 0, 0]


def test_the_history_from_before_a_restart_goes_and_that_since_then_stays(
    running: Running, clock: FakeClock
) -> None:
    write("Є сукня?")
    write("/start")
    write("Є шапка?")
    clock.advance(days=29)
    assert remove()["history"] == 0
    clock.advance(days=2)
    assert remove()["history"] == 2
    with current_runtime().database.transaction() as tx:
        said = tx.execute(select(history.c.content).order_by(history.c.id)).scalars().all()
    assert said == ["Є шапка?", "echo: Є шапка?"]
    assert count(conversations) == 1


def test_rows_that_stay_are_passed_by_and_all_others_behind_them_go(
    running: Running, services: FakeServices, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirt.housekeeping.BATCH", 2)
    services.misbehave("llm", Status(400), times=5)
    for _ in range(10):
        write("Є сукня?")
    clock.advance(days=31)
    removed = remove()
    assert (removed["inbox"], removed["turns"], count(inbox)) == (5, 5, 5)


def test_a_table_that_fails_keeps_no_other_from_its_turn_and_is_told(
    running: Running, clock: FakeClock
) -> None:
    write("Є сукня?")
    clock.advance(days=31)
    with current_runtime().database.transaction() as tx:
        tx.exec_driver_sql("ALTER TABLE deliveries RENAME TO gone")
        tx.exec_driver_sql("ALTER TABLE followups RENAME TO gone_too")
    with pytest.raises(DatabaseError, match="deliveries"):
        remove()
    assert (count(inbox), count(tasks)) == (0, 0)


def test_a_table_that_is_slow_keeps_no_other_from_its_turn(
    running: Running, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirt.housekeeping.BATCH", 1)
    left = Left(LAST_BATCH_S + 40)
    monkeypatch.setattr("mirt.housekeeping.time_left", left)
    for _ in range(50):
        write("Є сукня?")
    ping.send_with_options(task_id="ping")
    clock.advance(days=31)
    removed = remove()
    assert left(0) <= LAST_BATCH_S
    assert 0 < removed["inbox"] < 50
    assert 0 < removed["tasks"] < 51


class Left:
    """A deadline that is a second nearer at each look."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, _longest: float) -> float:
        self.seconds -= 1
        return self.seconds


def test_rows_without_time_left_go_in_the_next_run(running: Running, clock: FakeClock) -> None:
    write("Є сукня?")
    clock.advance(days=31)
    with deadline_in(LAST_BATCH_S - 1):
        assert set(remove().values()) == {0}
    assert remove()["inbox"] == 1


def test_a_silent_conversation_goes_at_its_age_and_one_that_writes_stays(
    run: Run, services: FakeServices, clock: FakeClock
) -> None:
    run("eager", clock=clock, conversation_retention_days=60)
    write("Є сукня?")
    dispatcher.dispatch_message("43", "Привіт", "telegram", "43", fire_and_forget=True)
    clock.advance(days=59)
    dispatcher.dispatch_message("43", "Ще тут", "telegram", "43", fire_and_forget=True)
    remove()
    assert count(conversations) == 2
    clock.advance(days=2)
    assert remove()["conversations"] == 1
    assert (count(conversations), count(history)) == (1, 4)


def test_a_conversation_that_waits_for_its_answer_is_not_silent(run: Run, clock: FakeClock) -> None:
    run("eager", clock=clock, conversation_retention_days=60)
    keep("t1", "Є сукня?")
    clock.advance(days=100)
    remove()
    assert count(conversations) == 1


def test_the_customer_of_an_order_goes_at_its_age_and_its_ids_stay(
    run: Run, services: FakeServices, clock: FakeClock
) -> None:
    run(
        "eager",
        clock=clock,
        order_retention_days=90,
        snitkix_api_key="crm-key",
        snitkix_api_url=services.crm_url,
    )
    dispatcher.dispatch_crm_order(order())
    clock.advance(days=91)
    assert remove()["orders"] == 1
    with current_runtime().database.transaction() as tx:
        [row] = tx.execute(select(orders)).all()
    assert (row.state, row.order_data, row.session_id) == ("created", {}, "")
    assert row.crm_order_id is not None
    assert remove()["orders"] == 0


def test_a_dead_letter_goes_at_its_age_only_if_the_shop_says_so(
    run: Run, services: FakeServices, clock: FakeClock
) -> None:
    run("eager", clock=clock, dead_letter_retention_days=90)
    services.misbehave("telegram", refusal(400, "Bad Request: chat not found"))
    write("Є сукня?")
    clock.advance(days=89)
    remove()
    assert count(dead_letters) == 1
    clock.advance(days=2)
    remove()
    remove()
    assert [count(table) for table in (dead_letters, tasks, inbox)] == [0, 0, 0]
