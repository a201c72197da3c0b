"""Every outcome is counted under its own name, on every transport."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from falcon.testing import TestClient
from sqlalchemy import event

from actors.crm import create_crm_order
from actors.health import ping
from actors.messages import send_response
from broker.task import registry
from middleware.policy import TASKS
from mirt.clock import utc_now
from mirt.metrics import StoreMetrics
from mirt.runtime import current_runtime
from mirt.texts import APOLOGY
from service import dispatcher
from service.app import create_app
from tests.clock import FakeClock
from tests.deployment import SECRET, update
from tests.fakes import FakeServices, Reset, Status, TooMany
from tests.fakes.telegram import refusal
from tests.integration.conftest import TRANSPORTS, Running
from tests.polling import wait_until
from tests.scrape import Scrape
from tests.servers import RabbitMQ
from tests.unit.orders.examples import order

FAILED = refusal(500, "Internal Server Error")
"""Surely not sent: it is in the words of the Bot API."""
REFUSED = Status(
    400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
)
Run = Callable[..., Running]


def scrape() -> Scrape:
    answer = TestClient(create_app(current_runtime())).simulate_get("/metrics")
    assert answer.status_code == 200
    return Scrape.of(answer.text)


class Since:
    """The growth of the counters of this process since then."""

    def __init__(self) -> None:
        self._before = scrape()

    def __call__(self, name: str, **labels: str) -> float:
        return scrape().sum(name, **labels) - self._before.sum(name, **labels)


def write(chat: str) -> None:
    dispatcher.dispatch_message(chat, "Привіт", "telegram", chat, fire_and_forget=True)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_turn_that_goes_well(run: Run, transport: str) -> None:
    run(transport)
    since = Since()
    write("1")
    task = "process_and_respond"
    wait_until(lambda: since("mirt_messages_finished_total", task=task, outcome="done") == 1)
    for name, labels in {
        "mirt_messages_started_total": {"task": task},
        "mirt_task_seconds_count": {"task": task, "outcome": "done"},
        "mirt_task_attempts_sum": {"task": task},
        "mirt_turn_seconds_count": {},
        "mirt_message_wait_seconds_count": {"channel": "telegram"},
        "mirt_agent_seconds_count": {"call": "answer", "outcome": "answered"},
        "mirt_deliveries_total": {"channel": "telegram", "outcome": "sent"},
    }.items():
        assert since(name, **labels) == 1, name
    for kind in ("prompt", "completion"):
        assert since("mirt_llm_tokens_total", kind=kind, model="openai/gpt-4o-mini") > 0
    assert since("mirt_worker_threads_busy") == 0
    assert scrape().sum("mirt_worker_threads") == (0 if transport == "eager" else 4)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_refusal_counts_as_dead_and_a_passing_error_as_a_retry(
    run: Run, transport: str, services: FakeServices
) -> None:
    run(transport)
    since = Since()
    services.misbehave("telegram", FAILED, times=1)
    send_response.send("telegram", "7", "привіт")
    wait_until(lambda: services.sent("7"))
    wait_until(lambda: since("mirt_messages_finished_total", outcome="done") == 1)
    assert since("mirt_retries_total", task="send_response", error="ExternalServiceError") == 1
    assert since("mirt_messages_finished_total", task="send_response", outcome="retried") == 1
    assert since("mirt_deliveries_total", outcome="retried") == 1

    services.misbehave("telegram", REFUSED)
    send_response.send("telegram", "8", "привіт")
    code = {"task": "send_response", "code": "CHANNEL_REFUSED"}
    wait_until(lambda: since("mirt_messages_finished_total", outcome="dead") == 1)
    assert since("mirt_buried_tasks_total", **code) == 1
    assert since("mirt_deliveries_total", outcome="refused") == 1
    assert scrape().sum("mirt_dead_letters", **code) == 1


def test_a_reply_of_which_nobody_knows_is_unknown_and_then_sent(
    run: Run, services: FakeServices
) -> None:
    run("eager")
    since = Since()
    services.misbehave("telegram", Reset())
    send_response.send("telegram", "7", "привіт")
    assert since("mirt_deliveries_total", channel="telegram", outcome="unknown") == 1
    assert since("mirt_deliveries_total", channel="telegram", outcome="sent") == 1


def test_an_apology_counts_under_the_error_of_its_turn(run: Run, services: FakeServices) -> None:
    run("eager")
    since = Since()
    services.misbehave("llm", Status(422, {"error": {"message": "no"}}), times=None)
    write("7")
    assert services.sent("7") == [APOLOGY]
    assert since("mirt_apologies_total", code="LLM_REFUSED") == since("mirt_apologies_total") == 1


def test_a_followup_counts_as_sent_or_by_the_reason_to_skip_it(
    run: Run, services: FakeServices
) -> None:
    run("eager")
    since = Since()
    dispatcher.dispatch_followup("nobody", "telegram", "7")
    assert since("mirt_followups_total", outcome="no_conversation") == 1
    write("7")
    dispatcher.dispatch_followup("7", "telegram", "7")
    assert since("mirt_followups_total", outcome="sent") == 1
    assert since("mirt_followups_total") == 2


def test_the_outbox_is_as_late_as_its_oldest_due_task(run: Run) -> None:
    clock = FakeClock()
    run("embedded", work=False, clock=clock)
    assert scrape().sum("mirt_outbox_lag_seconds") == 0
    ping.send_with_options(delay=60_000, task_id="later")
    assert scrape().sum("mirt_outbox_lag_seconds") == 0
    clock.advance(seconds=75)
    assert scrape().sum("mirt_outbox_lag_seconds") == 15


def test_a_customer_who_has_blocked_us_is_counted_until_they_write(
    run: Run, services: FakeServices
) -> None:
    run("eager")
    write("7")
    assert scrape().sum("mirt_unreachable_conversations") == 0
    services.misbehave("telegram", refusal(403, "Forbidden: bot was blocked by the user"))
    dispatcher.dispatch_followup("7", "telegram", "7")
    assert scrape().sum("mirt_unreachable_conversations") == 1
    dispatcher.dispatch_message("7", "Я тут", "telegram", "7", fire_and_forget=True)
    assert scrape().sum("mirt_unreachable_conversations") == 0


def test_a_copy_of_what_is_done_is_skipped(run: Run) -> None:
    running = run("embedded")
    since = Since()
    message = ping.send()
    wait_until(lambda: since("mirt_messages_finished_total", outcome="done") == 1)
    running.broker.transmit([message], within_s=1)
    wait_until(lambda: since("mirt_messages_finished_total", task="ping", outcome="skipped") == 1)


@pytest.mark.parametrize(
    ("what", "outcome"),
    [
        (TooMany(1), "limited"),
        (Status(422), "refused"),
        (Status(503, headers={"Retry-After": "1"}), "failed"),
    ],
)
def test_the_crm_is_measured_by_what_it_answers(
    run: Run, services: FakeServices, what: Any, outcome: str
) -> None:
    run("eager", snitkix_api_url=services.crm_url, snitkix_api_key="crm-key")
    since = Since()
    services.misbehave("crm", what)
    create_crm_order.send(order())
    assert since("mirt_crm_seconds_count", outcome=outcome) == 1
    well = 0 if outcome == "refused" else 1
    assert since("mirt_crm_seconds_count", call="create", outcome="answered") == well


def test_an_order_that_may_have_been_created_is_unknown(run: Run, services: FakeServices) -> None:
    run("eager", snitkix_api_url=services.crm_url, snitkix_api_key="crm-key")
    since = Since()
    services.misbehave("crm", Reset())
    create_crm_order.send(order())
    assert since("mirt_crm_seconds_count", call="create", outcome="unknown") == 1
    assert since("mirt_crm_seconds_count", call="find", outcome="answered") == 1
    assert scrape().sum("mirt_unknown_outcomes", of="order") == 1


def test_an_agent_that_refuses_is_not_one_that_fails(run: Run, services: FakeServices) -> None:
    run("eager")
    since = Since()
    services.misbehave("llm", Status(400))
    write("1")
    assert since("mirt_agent_seconds_count", call="answer", outcome="refused") == 1
    assert since("mirt_llm_tokens_total") == 0


def test_every_tick_is_counted_and_its_age_is_known(run: Run) -> None:
    clock = FakeClock()
    run("eager", clock=clock)
    since = Since()
    registry.broker.tick(clock.now)
    registry.broker.tick(clock.now)
    assert since("mirt_ticks_total", task="sweep_mailboxes") == 1
    clock.advance(minutes=7)
    assert scrape().sum("mirt_last_tick_age_seconds", task="sweep_mailboxes") == 420


def test_each_task_has_a_number_for_each_state(run: Run) -> None:
    run("embedded", work=False)
    write("1")
    ping.send_with_options(delay=3_600_000, task_id="later")
    found = scrape()
    assert found.sum("mirt_tasks", queue="llm", state="ready") == 1
    assert found.sum("mirt_tasks", queue="default", task="ping", state="delayed") == 1
    assert found.sum("mirt_tasks") == 2
    assert len([name for name, _ in found.samples if name == "mirt_tasks"]) == len(TASKS) * 3


def test_the_figures_are_read_with_few_questions(run: Run) -> None:
    run("eager")
    asked: list[str] = []
    figures = StoreMetrics(current_runtime().database, utc_now, {})
    event.listen(
        current_runtime().database.engine, "before_cursor_execute", lambda *a: asked.append(a[2])
    )
    figures.read()
    assert len([one for one in asked if one.startswith("SELECT")]) <= 14


def test_rabbitmq_is_asked_itself(run: Run) -> None:
    running = run("rabbitmq", work=False)
    running.broker.transmit([ping.message(), ping.message()], within_s=5)
    found = scrape()
    assert found.sum("mirt_source_readable", source="rabbitmq") == 1
    assert found.sum("mirt_rabbitmq_ready_messages", queue="default") == 2
    assert found.sum("mirt_rabbitmq_consumers") == 0
    assert found.sum("mirt_rabbitmq_ready_messages", queue="default.dead") == 0
    queues = {dict(labels)["queue"] for name, labels in found.samples if "consumers" in name}
    assert queues == {"llm", "summarization", "followups", "crm", "webhooks", "default"}


def test_queues_that_do_not_exist_have_nobody(run: Run) -> None:
    run("rabbitmq", work=False)
    found = scrape()
    assert found.sum("mirt_source_readable", source="rabbitmq") == 1
    assert found.sum("mirt_rabbitmq_consumers") == 0


def test_a_worker_is_a_consumer_of_its_queues(run: Run) -> None:
    run("rabbitmq")
    wait_until(lambda: scrape().sum("mirt_rabbitmq_consumers") == 6)


def test_servers_that_hang_hold_an_answer_for_seconds_only(run: Run, rabbitmq: RabbitMQ) -> None:
    run("rabbitmq", work=False)
    client = TestClient(create_app(current_runtime()))
    assert client.simulate_get("/metrics").status_code == 200
    with rabbitmq.frozen():
        began = time.monotonic()
        found = Scrape.of(client.simulate_get("/metrics").text)
        assert time.monotonic() - began < 10
    assert found.sum("mirt_source_readable", source="rabbitmq") == 0
    assert found.sum("mirt_source_readable", source="database") == 1


def test_webhooks_are_counted_by_their_outcome(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.web.load_shedding.MEASURE_EVERY_S", 0)
    run("embedded", work=False, BACKLOG_MAX_MESSAGES=1)
    since = Since()
    client = TestClient(create_app(current_runtime()))

    def post(body: Any, secret: str = SECRET) -> int:
        headers = {"X-Telegram-Bot-Api-Secret-Token": secret}
        return client.simulate_post("/webhooks/telegram", json=body, headers=headers).status_code

    assert post(update(1, 2, " ")) == 200
    assert post(update(1, 1, "Привіт")) == 200
    assert post(update(1, 1, "Привіт"), "wrong") == 401
    assert post({"update_id": 1, "edited_message": {}}) == 200
    assert post(update(2, 1, "Привіт")) == 503
    with current_runtime().database.transaction() as tx:
        tx.exec_driver_sql("DROP TABLE inbox")
    assert post(update(3, 1, "Привіт")) == 503
    expected = {"accepted": 1, "refused": 1, "ignored": 2, "shed": 1, "unavailable": 1}
    for outcome, count in expected.items():
        assert since("mirt_webhooks_total", channel="telegram", outcome=outcome) == count
    assert since("mirt_http_request_seconds_count", route="/webhooks/telegram", status="401") == 1


def test_an_address_that_there_is_not_is_no_series_of_its_own(run: Run) -> None:
    run("eager")
    since = Since()
    client = TestClient(create_app(current_runtime()))
    client.simulate_get("/wp-login.php")
    client.simulate_get("/.env")
    assert since("mirt_http_request_seconds_count", route="none", status="404") == 2


@pytest.mark.usefixtures("impatient_with_unknown_tasks")
def test_a_message_of_no_task_that_we_know_is_no_series_of_its_own(run: Run) -> None:
    running = run("rabbitmq")
    since = Since()
    running.broker.transmit([ping.message().copy(actor_name="stranger")], within_s=5)
    wait_until(lambda: since("mirt_buried_tasks_total", code="UNKNOWN_ACTOR") == 1)
    assert since("mirt_buried_tasks_total", task="unknown") == 1
    # A dead letter that is there is shown by its name until an operator decides; a count stays.
    named = {name for name, labels in scrape().samples if "stranger" in str(labels)}
    assert named == {"mirt_dead_letters"}
