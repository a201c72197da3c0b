"""Operators learn when messages can no longer arrive, and what to do about it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client.core import Metric
from pydantic import SecretStr
from sqlalchemy import insert

from mirt.channels import Channel
from mirt.channels.telegram import TelegramChannel
from mirt.metrics import StoreMetrics
from mirt.store.engine.database import Database
from mirt.store.shop import webhooks as store
from mirt.store.shop.webhooks import WebhookState
from mirt.store.tables import conversations
from mirt.webhooks import Webhooks, problems_of
from service.admin.findings import findings
from service.admin.queues import Activity
from tests.clock import NOON, FakeClock
from tests.fakes import FakeServices, Status

HERE = "https://shop.example/webhooks/telegram"
ELSEWHERE = "https://elsewhere.example/hook"


@pytest.fixture
def telegram(services: FakeServices) -> Iterator[TelegramChannel]:
    channel = TelegramChannel(
        token=SecretStr("123456:token"), secret=None, api_url=services.telegram_url
    )
    yield channel
    channel.close()


class Watched:
    """The watch of one service, and what it says."""

    def __init__(self, database: Database, channel: Channel, *, is_polled: bool) -> None:
        self.clock = FakeClock()
        self.database = database
        self.watch = Webhooks(database, {"telegram": channel}, self.clock, is_polled=is_polled)

    @property
    def state(self) -> WebhookState:
        with self.database.transaction() as tx:
            [state] = store.read(tx)
        return state

    def check(self) -> list[str]:
        """Check, and return the problems as an operator reads them."""
        self.watch.check()
        return self.problems()

    def problems(self) -> list[str]:
        return [f"{one.what} → {one.command}" for one in problems_of(self.state, self.clock())]


@pytest.fixture
def deployed(database: Database, telegram: TelegramChannel) -> Watched:
    """A deployment that receives by webhook."""
    return Watched(database, telegram, is_polled=False)


@pytest.fixture
def embedded(database: Database, telegram: TelegramChannel) -> Watched:
    """A service that fetches updates."""
    return Watched(database, telegram, is_polled=True)


def test_a_webhook_that_works_is_no_problem(deployed: Watched, services: FakeServices) -> None:
    services.telegram.webhook = {"url": HERE}
    deployed.watch.expect("telegram", HERE)
    assert deployed.check() == []


def test_a_webhook_that_was_replaced_is_named_with_the_command_that_puts_it_right(
    deployed: Watched, services: FakeServices
) -> None:
    deployed.watch.expect("telegram", HERE)
    services.telegram.webhook = {"url": f"{ELSEWHERE}?token=secret"}
    assert deployed.check() == [
        f"Telegram sends messages to {ELSEWHERE}, not to {HERE} → mirt telegram set-webhook {HERE}"
    ]


def test_a_webhook_that_was_set_by_other_means_is_remembered(
    deployed: Watched, services: FakeServices
) -> None:
    services.telegram.webhook = {"url": HERE}
    assert deployed.check() == []
    services.telegram.webhook = {"url": ELSEWHERE}
    assert len(deployed.check()) == 1
    deployed.watch.expect("telegram", ELSEWHERE)
    assert deployed.check() == []


def test_a_webhook_that_was_deleted_is_a_problem(deployed: Watched, services: FakeServices) -> None:
    services.telegram.webhook = {"url": HERE}
    deployed.check()
    services.telegram.webhook = {}
    assert deployed.check() == [
        f"Telegram sends messages nowhere: no webhook is set → mirt telegram set-webhook {HERE}"
    ]


def test_deliveries_that_fail_are_a_problem_while_they_are_recent(
    deployed: Watched, services: FakeServices
) -> None:
    services.telegram.webhook = {"url": HERE}
    services.telegram.webhook_state = {
        "last_error_date": int((NOON - timedelta(seconds=40)).timestamp()),
        "last_error_message": "Wrong response from the webhook: 502 Bad Gateway",
    }
    assert deployed.check() == [
        f"Telegram could not deliver to {HERE} 40 s ago: Wrong response from the webhook: "
        "502 Bad Gateway → mirt telegram info"
    ]
    deployed.clock.advance(minutes=5)
    assert deployed.check() == []


@pytest.mark.parametrize(("pending", "problems"), [(100, 0), (101, 1)])
def test_many_updates_that_wait_are_a_problem(
    deployed: Watched, services: FakeServices, pending: int, problems: int
) -> None:
    services.telegram.webhook = {"url": HERE}
    services.telegram.webhook_state = {"pending_update_count": pending}
    assert len(deployed.check()) == problems


def test_a_token_that_is_refused_is_a_problem(deployed: Watched, services: FakeServices) -> None:
    unauthorized = {"ok": False, "error_code": 401, "description": "Unauthorized"}
    services.misbehave("telegram", Status(401, unauthorized))
    assert deployed.check() == ["Telegram refuses us: 401 Unauthorized → mirt doctor"]


@pytest.mark.parametrize("what", [Status(502), Status(429)])
def test_a_telegram_that_is_away_changes_nothing_of_what_is_known(
    deployed: Watched, services: FakeServices, what: Any
) -> None:
    services.telegram.webhook = {"url": HERE}
    deployed.check()
    services.misbehave("telegram", what)
    assert deployed.check() == []
    assert deployed.state.url == HERE


def test_a_check_of_long_ago_says_nothing(deployed: Watched, services: FakeServices) -> None:
    assert len(deployed.check()) == 1
    deployed.clock.advance(minutes=11)
    assert deployed.problems() == []


def test_without_a_webhook_a_service_that_fetches_is_well(embedded: Watched) -> None:
    assert embedded.check() == []


def test_a_service_that_fetches_is_told_of_a_webhook_that_takes_its_updates(
    embedded: Watched, services: FakeServices
) -> None:
    services.telegram.webhook = {"url": ELSEWHERE}
    assert embedded.check() == [
        f"Telegram sends messages to {ELSEWHERE}, so none can be fetched here "
        "→ mirt telegram delete-webhook"
    ]
    embedded.watch.expect("telegram", ELSEWHERE)
    assert embedded.check() == [], "a tunnel that leads here was set by its operator"


def test_a_poller_that_gets_nothing_is_a_problem_until_it_does(embedded: Watched) -> None:
    embedded.check()
    embedded.watch.report_polling("telegram", "409 Conflict")
    assert embedded.check() == ["Telegram gives us no messages: 409 Conflict → mirt doctor"]
    embedded.watch.report_polling("telegram", None)
    assert embedded.problems() == []


def test_the_last_message_of_each_channel_is_known(deployed: Watched) -> None:
    with deployed.database.transaction() as tx:
        for chat, hours in (("1", 3), ("2", 5)):
            at = NOON - timedelta(hours=hours)
            row = {"session_id": chat, "platform": "telegram"}
            tx.execute(insert(conversations).values(last_customer_at=at, created_at=at, **row))
    deployed.check()
    assert deployed.state.last_message_at == NOON - timedelta(hours=3)
    values = {metric.name: _values(metric) for metric in _metrics(deployed)}
    assert values["mirt_webhook_age_seconds"] == {"telegram": 3 * 3600}


def test_pending_updates_and_problems_are_metrics(
    deployed: Watched, services: FakeServices
) -> None:
    services.telegram.webhook_state = {"pending_update_count": 700}
    deployed.check()
    values = {metric.name: _values(metric) for metric in _metrics(deployed)}
    assert values["mirt_telegram_pending_updates"] == {"": 700}
    assert values["mirt_webhook_problems"] == {"telegram": 2}


def test_the_page_and_the_command_line_begin_with_it(deployed: Watched) -> None:
    deployed.check()
    activity = Activity(NOON, [], [], [])
    first, *_ = findings(deployed, activity, [])
    assert first.what == "Telegram sends messages nowhere: no webhook is set"
    assert first.command == "mirt telegram set-webhook URL"


def _metrics(watched: Watched) -> list[Metric]:
    return list(StoreMetrics(watched.database, watched.clock, {}).read())


def _values(metric: Metric) -> dict[str, float]:
    return {",".join(sample.labels.values()): sample.value for sample in metric.samples}
