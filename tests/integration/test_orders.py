"""An order reaches the CRM once, and its life is in a table."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from falcon.testing import TestClient

from actors.crm import create_crm_order, sync_order_status
from broker.task import registry
from middleware.dead_letters import replay
from mirt.clock import utc_now
from mirt.errors import (
    ExternalServiceError,
    OutcomeUnknownError,
    PermanentError,
    RateLimitError,
)
from mirt.orders.orders import SETTLED_AFTER_S
from mirt.runtime import current_runtime
from mirt.store.queue import leases
from mirt.store.queue.dead_letters import DeadLetterFilter
from mirt.store.queue.leases import Lease
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop import orders as store
from mirt.store.tables import conversations, dead_letters, orders, tasks
from service import dispatcher
from service.app import create_app
from tests.clock import FakeClock
from tests.fakes import FakeServices, Reset, Status, TooMany
from tests.integration.conftest import TRANSPORTS, Running, result_of, rows
from tests.polling import wait_until
from tests.unit.orders.examples import order

CRM = {"snitkix_api_key": "crm-key", "OPS_TOKEN": "token-of-the-operators"}


@pytest.fixture
def crm(run: Callable[..., Running], services: FakeServices) -> Any:
    run("eager", snitkix_api_url=services.crm_url, **CRM)
    return services.crm


def test_an_order_is_created_and_its_task_says_so(crm: Any) -> None:
    result = result_of(create_crm_order.send(order()))
    assert result == {"status": "created", "order_id": "crm-1", "external_id": "order-1"}
    (kept,) = rows(orders)
    assert (kept.state, kept.crm_order_id, kept.status) == ("created", "crm-1", "new")
    assert kept.order_data["items"][0]["price"] == "499.90"


def test_one_name_is_one_order_however_often_it_is_sent(crm: Any) -> None:
    results = [result_of(create_crm_order.send(order())) for _ in range(3)]
    assert {result["order_id"] for result in results} == {"crm-1"}
    assert len(crm.orders) == 1


NOT_DONE = Status(503, headers={"Retry-After": "1"})
"""An answer that proves that no order was created."""


@pytest.mark.parametrize("what", [Reset(), Status(500, applied=True), TooMany(1), NOT_DONE])
def test_an_order_whose_failure_passes_is_tried_again_and_created_once(
    crm: Any, services: FakeServices, what: Any
) -> None:
    services.misbehave("crm", what, times=2)
    assert result_of(create_crm_order.send(order()))["status"] == "created"
    assert len(crm.orders) == 1


@pytest.mark.parametrize(
    "what",
    [Reset(), Status(408, applied=True), Status(502, applied=True), Status(504, applied=True)],
)
def test_an_order_whose_answer_was_lost_is_adopted_and_counted_as_unknown(
    crm: Any, services: FakeServices, what: Any
) -> None:
    services.misbehave("crm", what)
    create_crm_order.send(order())
    assert [one["id"] for one in crm.orders] == ["crm-1"]
    (kept,) = rows(orders)
    assert (kept.state, kept.unknown, kept.crm_order_id) == ("created", 1, "crm-1")


def test_a_bad_phone_number_is_not_tried_again(crm: Any, services: FakeServices) -> None:
    bad = order(customer={**order()["customer"], "phone": "12345"})
    create_crm_order.send(bad)
    (dead,) = rows(dead_letters)
    assert (dead.error_code, dead.attempts) == ("INVALID_INPUT", 1)
    assert "customer.phone" in dead.exception
    assert services.requests("crm") == []


def test_an_order_that_the_crm_refuses_is_not_tried_again_and_may_be_corrected(
    crm: Any, services: FakeServices
) -> None:
    services.misbehave("crm", Status(422, {"message": "phone: is blacklisted"}))
    create_crm_order.send(order())
    (dead,) = rows(dead_letters)
    assert (dead.error_code, dead.attempts) == ("CRM_REJECTED", 1)
    (kept,) = rows(orders)
    assert (kept.state, kept.error) == ("rejected", "crm: 422 phone: is blacklisted")
    corrected = order(customer={**order()["customer"], "phone": "0671112233"})
    assert result_of(create_crm_order.send(corrected))["status"] == "created"
    assert crm.orders[0]["customer"]["phone"] == "+380671112233"


def test_an_order_that_failed_is_created_by_its_replay(
    crm: Any, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirt.http.breaker.Breaker.wait_s", lambda _: 0)
    services.misbehave("crm", NOT_DONE, times=6)
    message = create_crm_order.send(order())
    assert [kept.state for kept in rows(orders)] == ["failed"]
    services.mend()
    choice = DeadLetterFilter(task_ids=[message.message_id])
    assert replay(registry.broker, current_runtime().database, choice, utc_now) == 1
    assert [kept.state for kept in rows(orders)] == ["created"]
    assert len(crm.orders) == 1


def test_without_a_crm_an_order_waits_as_a_dead_letter(run: Callable[..., Running]) -> None:
    run("eager")
    create_crm_order.send(order())
    (dead,) = rows(dead_letters)
    assert "SNITKIX_API_KEY" in dead.exception


def test_a_status_is_kept_with_the_order_and_its_conversation(crm: Any) -> None:
    dispatcher.dispatch_message("42", "Беру", "telegram", "42", fire_and_forget=True)
    create_crm_order.send(order())
    crm.orders[0]["status"] = "pending"
    result = result_of(sync_order_status.send("crm-1", "42"))
    assert result == {
        "status": "synced",
        "order_id": "crm-1",
        "order_status": "pending_payment",
        "session_id": "42",
    }
    assert [one.order_status for one in rows(conversations)] == ["pending_payment"]
    assert [one.status for one in rows(orders)] == ["pending_payment"]


def test_a_late_worker_does_not_overwrite_a_later_status(crm: Any) -> None:
    dispatcher.dispatch_message("42", "Беру", "telegram", "42", fire_and_forget=True)
    create_crm_order.send(order())
    crm.orders[0]["status"] = "shipped"
    sync_order_status.send("crm-1", "42")
    with current_runtime().database.transaction() as tx:
        early = datetime.now(UTC) - timedelta(minutes=1)
        noted = store.note_status(
            tx, crm_order_id="crm-1", session_id="42", status="paid", asked_at=early
        )
    assert not noted
    assert [one.order_status for one in rows(conversations)] == ["shipped"]
    create_crm_order.send(order())
    assert [one.status for one in rows(orders)] == ["shipped"]


def test_an_order_is_synced_by_the_number_that_it_has_in_the_crm(
    crm: Any, services: FakeServices
) -> None:
    services.misbehave("crm", Status(200, {"id": 7, "status": "paid"}))
    assert result_of(sync_order_status.send(cast("str", 7), "42"))["order_id"] == "7"


def test_an_order_of_nobody_is_not_synced(crm: Any) -> None:
    sync_order_status.send("crm-404", "42")
    assert [dead.error_code for dead in rows(dead_letters)] == ["CRM_REJECTED"]


def post(path: str, body: Any, token: str | None = "token-of-the-operators") -> Any:
    client = TestClient(create_app(current_runtime()))
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return client.simulate_post(path, json=body, headers=headers)


def test_an_order_that_is_posted_is_created(crm: Any) -> None:
    answer = post("/tasks/order", order())
    assert (answer.status_code, answer.json["queued"]) == (202, True)
    assert [one.id for one in rows(tasks)] == [answer.json["task_id"]]
    assert len(crm.orders) == 1


def test_a_wrong_order_is_refused_at_the_door_and_not_kept(crm: Any) -> None:
    answer = post("/tasks/order", order(items=[]))
    assert (answer.status_code, answer.json["error"]) == (400, "INVALID_INPUT")
    assert answer.json["message"].startswith("items: ")
    assert rows(tasks) == []


@pytest.mark.parametrize("token", [None, "", "wrong"])
@pytest.mark.parametrize("path", ["/tasks/order", "/tasks/summarize", "/tasks/followup"])
def test_a_caller_without_the_token_is_refused(crm: Any, path: str, token: str | None) -> None:
    assert post(path, {"session_id": "42"}, token).status_code == 401


@pytest.mark.parametrize("path", ["/tasks/summarize", "/tasks/followup"])
@pytest.mark.parametrize(
    "body", [{}, {"session_id": ""}, {"session_id": 7}, {"session_id": "4" * 201}, [], "42"]
)
def test_a_wrong_body_is_refused_by_its_field(crm: Any, path: str, body: Any) -> None:
    answer = post(path, body)
    assert (answer.status_code, answer.json["error"]) == (400, "INVALID_INPUT")


@pytest.mark.parametrize("wrong", [{"channel": "viber"}, {"chat_id": ""}, {"chat_id": 42}])
def test_a_reminder_that_could_reach_nobody_is_refused_and_not_kept(crm: Any, wrong: Any) -> None:
    answer = post("/tasks/followup", {"session_id": "42", **wrong})
    assert (answer.status_code, answer.json["error"]) == (400, "INVALID_INPUT")
    assert answer.json["message"].startswith(f"{next(iter(wrong))}: ")
    assert rows(tasks) == []


def test_without_a_token_configured_nobody_is_let_in(run: Callable[..., Running]) -> None:
    run("eager")
    for token in (None, "", "token-of-the-operators"):
        assert post("/tasks/summarize", {"session_id": "42"}, token).status_code == 401


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_dispatched_order_is_created(
    run: Callable[..., Running], services: FakeServices, transport: str
) -> None:
    run(transport, snitkix_api_url=services.crm_url, **CRM)
    answer = dispatcher.dispatch_crm_order(order(**PRICED))
    assert answer == {"queued": True, "task_id": answer["task_id"]}
    wait_until(lambda: [one.state for one in rows(orders)] == ["created"])
    (created,) = services.crm.orders
    assert (created["items"][0]["price"], created["total"]) == (19.99, 59.97)


PRICED = {"items": [{**order()["items"][0], "price": Decimal("19.99"), "quantity": 3}]}


def test_one_name_is_one_order_when_many_workers_create_it_at_once(
    run: Callable[..., Running], services: FakeServices
) -> None:
    run("rabbitmq", snitkix_api_url=services.crm_url, **CRM)
    services.latency["crm"] = 0.5
    results = registry.broker.get_results_backend()
    sent = [create_crm_order.send(order()) for _ in range(4)]
    ids = {results.get_result(one, block=True, timeout=20_000)["order_id"] for one in sent}
    assert (ids, len(services.crm.orders)) == ({"crm-1"}, 1)


def test_an_order_that_another_task_is_creating_is_waited_for_and_not_asked_for(
    run: Callable[..., Running], services: FakeServices
) -> None:
    clock = FakeClock()
    run("eager", clock=clock, snitkix_api_url=services.crm_url, **CRM)
    asking(claimed(clock, "one"), clock)
    with pytest.raises(RateLimitError, match="another task"):
        current_runtime().orders.create(claimed(clock, "two"), order())
    assert services.requests("crm") == []


def test_text_that_no_database_can_keep_is_left_out_and_nothing_lost(
    run: Callable[..., Running], services: FakeServices
) -> None:
    run("rabbitmq", snitkix_api_url=services.crm_url, **CRM)
    create_crm_order.send({**order(), "note": "a\0b\ud800"})
    wait_until(lambda: [one.state for one in rows(orders)] == ["created"])
    services.misbehave("crm", Status(422, rb'{"message": "name: a\u0000b"}'))
    create_crm_order.send(order(external_id="order-2"))
    (dead,) = wait_until(lambda: rows(dead_letters))
    assert dead.error_code == "CRM_REJECTED"
    assert [one.error for one in rows(orders)] == [None, "crm: 422 name: a\ufffdb"]


def claimed(clock: FakeClock, task_id: str = "one") -> Lease:
    """The claim on a task, for what a worker does with it."""
    with current_runtime().database.transaction() as tx:
        lease = leases.claim(
            tx,
            TaskMessage(task_id, "create_crm_order"),
            owner="worker",
            now=clock.now,
            duration=timedelta(hours=1),
        )
    assert lease is not None
    return lease


def created(services: FakeServices) -> int:
    """How often the CRM was asked to create an order."""
    return sum(request.method == "POST" for request in services.requests("crm"))


LOST_REQUESTS = [Reset(applied=False), Status(500), Status(504), Status(408)]


@pytest.mark.parametrize("what", LOST_REQUESTS)
def test_an_order_that_the_crm_may_still_be_creating_is_not_asked_for_again(
    run: Callable[..., Running], services: FakeServices, what: Any
) -> None:
    clock = FakeClock()
    run("eager", clock=clock, snitkix_api_url=services.crm_url, **CRM)
    lease, create = claimed(clock), current_runtime().orders.create
    services.misbehave("crm", what)
    with pytest.raises(OutcomeUnknownError):
        create(lease, order())
    for _ in range(2):
        clock.advance(seconds=SETTLED_AFTER_S / 2 - 1)
        with pytest.raises(RateLimitError) as told:
            create(lease, order())
    assert (told.value.retry_after, created(services)) == (2, 1)
    assert [(one.state, one.unknown) for one in rows(orders)] == [("unknown", 1)]
    clock.advance(seconds=2)
    assert create(lease, order())["status"] == "created"
    assert (len(services.crm.orders), created(services)) == (1, 2)


def test_neither_is_one_whose_worker_was_lost_a_moment_ago(
    run: Callable[..., Running], services: FakeServices
) -> None:
    clock = FakeClock()
    run("eager", clock=clock, snitkix_api_url=services.crm_url, **CRM)
    lease = claimed(clock)
    asking(lease, clock)
    clock.advance(seconds=1)
    for _ in range(2):
        with pytest.raises(RateLimitError):
            current_runtime().orders.create(lease, order())
    assert created(services) == 0
    assert [(one.state, one.unknown) for one in rows(orders)] == [("unknown", 1)]


def lose_request_and_bury(services: FakeServices, clock: FakeClock) -> None:
    """A task whose request has an unknown outcome, and which has failed for good."""
    services.misbehave("crm", Reset(applied=False))
    lease = claimed(clock)
    with pytest.raises(OutcomeUnknownError):
        current_runtime().orders.create(lease, order())
    with current_runtime().database.transaction() as tx:
        current_runtime().orders.failed(tx, lease.task_id)
        leases.mark_dead(tx, lease, error_code="TIME_LIMIT", now=clock.now)
    assert [(one.state, one.unknown) for one in rows(orders)] == [("failed", 1)]


@pytest.mark.parametrize("task_id", ["one", "two"], ids=["a replay", "another task"])
def test_a_later_task_waits_as_long_for_a_request_of_unknown_outcome(
    run: Callable[..., Running], services: FakeServices, task_id: str
) -> None:
    clock = FakeClock()
    run("eager", clock=clock, snitkix_api_url=services.crm_url, **CRM)
    lose_request_and_bury(services, clock)
    with current_runtime().database.transaction() as tx:
        tx.execute(tasks.delete())
    lease, create = claimed(clock, task_id), current_runtime().orders.create
    clock.advance(seconds=2)
    with pytest.raises(RateLimitError) as told:
        create(lease, order())
    assert (told.value.retry_after, created(services)) == (SETTLED_AFTER_S - 2, 1)
    clock.advance(seconds=SETTLED_AFTER_S - 2)
    assert create(lease, order())["status"] == "created"
    assert (len(services.crm.orders), created(services)) == (1, 2)


def test_a_later_task_adopts_the_order_that_the_crm_has_created_meanwhile(
    run: Callable[..., Running], services: FakeServices
) -> None:
    clock = FakeClock()
    run("eager", clock=clock, snitkix_api_url=services.crm_url, **CRM)
    lose_request_and_bury(services, clock)
    services.crm.orders.append({"id": "crm-9", "external_id": "order-1", "status": "new"})
    clock.advance(seconds=2)
    result = current_runtime().orders.create(claimed(clock, "two"), order())
    assert (result["order_id"], created(services)) == ("crm-9", 1)
    assert [(one.state, one.unknown_since) for one in rows(orders)] == [("created", None)]


def test_an_order_that_was_surely_not_created_is_asked_for_again_at_once(
    run: Callable[..., Running], services: FakeServices
) -> None:
    clock = FakeClock()
    run("eager", clock=clock, snitkix_api_url=services.crm_url, **CRM)
    services.misbehave("crm", NOT_DONE)
    lease, create = claimed(clock), current_runtime().orders.create
    with pytest.raises(ExternalServiceError):
        create(lease, order())
    assert [(one.state, one.unknown_since) for one in rows(orders)] == [("creating", None)]
    assert create(lease, order())["status"] == "created"


def test_a_late_answer_settles_no_request_of_another_worker(
    run: Callable[..., Running],
) -> None:
    clock = FakeClock()
    run("eager", clock=clock)
    lease = claimed(clock)
    late = asking(lease, clock)
    clock.advance(seconds=SETTLED_AFTER_S + 1)
    asking(lease, clock)
    with current_runtime().database.transaction() as tx:
        store.not_created(tx, late, error="late", now=clock.now)
    assert [(one.state, one.unknown_since) for one in rows(orders)] == [("asking", clock.now)]


def test_a_request_of_a_version_that_kept_no_time_of_it_is_waited_for_too(
    run: Callable[..., Running], services: FakeServices
) -> None:
    clock = FakeClock()
    run("eager", clock=clock, snitkix_api_url=services.crm_url, **CRM)
    lease = claimed(clock)
    asking(lease, clock)
    with current_runtime().database.transaction() as tx:
        tx.execute(orders.update().values(unknown_since=None))
    with pytest.raises(RateLimitError):
        current_runtime().orders.create(lease, order())
    assert created(services) == 0


def asking(lease: Lease, clock: FakeClock) -> store.KeptOrder:
    """An order whose request has left, and whose answer is not there yet."""
    new = store.NewOrder("order-1", lease.task_id, "42", "telegram", order(), "trace")
    with current_runtime().database.transaction() as tx:
        return store.ask(tx, store.begin(tx, new, now=clock.now), now=clock.now)


def test_a_request_that_is_not_back_when_its_task_dies_is_counted_as_unknown(
    run: Callable[..., Running],
) -> None:
    clock = FakeClock()
    run("eager", clock=clock)
    asking(claimed(clock), clock)
    with current_runtime().database.transaction() as tx:
        current_runtime().orders.failed(tx, "one")
    assert [(one.state, one.unknown) for one in rows(orders)] == [("failed", 1)]


@pytest.mark.parametrize("late", ["lost", "not_created", "rejected", "created"])
def test_the_answer_to_a_late_worker_changes_no_order_that_is_created(
    run: Callable[..., Running], late: str
) -> None:
    clock = FakeClock()
    run("eager", clock=clock)
    dispatcher.dispatch_message("42", "Беру", "telegram", "42", fire_and_forget=True)
    kept = asking(claimed(clock), clock)
    with current_runtime().database.transaction() as tx:
        store.created(tx, kept, crm_order_id="crm-1", status="new", now=clock.now)
        store.note_status(
            tx, crm_order_id="crm-1", session_id="42", status="paid", asked_at=clock.now
        )
        if late == "created":
            store.created(tx, kept, crm_order_id="crm-2", status="new", now=clock.now)
        else:
            getattr(store, late)(tx, kept, error="late", now=clock.now)
    (now,) = rows(orders)
    assert (now.state, now.status, now.crm_order_id) == ("created", "paid", "crm-1")
    assert [one.order_status for one in rows(conversations)] == ["paid"]


def test_without_tasks_the_caller_gets_the_result(
    run: Callable[..., Running], services: FakeServices
) -> None:
    run("embedded", work=False, TASKS_ENABLED=False, snitkix_api_url=services.crm_url, **CRM)
    assert dispatcher.dispatch_crm_order(order()) == {
        "queued": False,
        "status": "created",
        "order_id": "crm-1",
        "external_id": "order-1",
    }
    with pytest.raises(PermanentError, match=r"items"):
        dispatcher.dispatch_crm_order(order(items=[]))


def test_without_tasks_the_look_up_of_an_unknown_order_waits_as_it_is_asked(
    run: Callable[..., Running], services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds=seconds)

    crm = {"snitkix_api_url": services.crm_url, **CRM}
    running = run("embedded", work=False, clock=clock, TASKS_ENABLED=False, **crm)
    monkeypatch.setattr(running.broker, "_sleep", sleep)
    services.misbehave("crm", Status(504))
    assert dispatcher.dispatch_crm_order(order())["status"] == "created"
    assert SETTLED_AFTER_S - 5 < sum(slept) < SETTLED_AFTER_S + 5
    assert (len(services.crm.orders), created(services)) == (1, 2)
    assert len(services.requests("crm")) <= 5
