"""The figures of a day, counted by hand, in the shop's time zone."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from mirt.clock import Clock
from mirt.errors import PermanentError
from mirt.settings import Settings
from mirt.store.engine.database import Database
from mirt.store.tables import deliveries, followups, inbox, orders, turns
from service.admin.orders import list_orders
from service.admin.today import Day, day_of, read_day
from tests.fakes import FakeServices
from tests.settings import settings_for
from tests.unit.orders.examples import order

# In Kyiv the day of 1 March 2026 begins at 22:00 UTC of the day before.
BEGAN = datetime(2026, 2, 28, 22, tzinfo=UTC)
DAY = date(2026, 3, 1)


class Shop:
    """A database with a clock at noon of the day."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock: Clock = lambda: BEGAN + timedelta(hours=12)

    def add(self, table: Any, **values: Any) -> None:
        with self.database.transaction() as tx:
            tx.execute(insert(table).values(**values))

    def message(
        self, name: str, state: str, at: datetime, *, took_s: float = 1, **more: Any
    ) -> None:
        self.add(
            inbox,
            **{
                "task_id": name,
                "session_id": name,
                "actor": "process_and_respond",
                "text": "Привіт",
                "platform": "telegram",
                "metadata": {},
                "trace_id": name,
                "state": state,
                "turn_id": name,
                "received_at": at - timedelta(seconds=took_s),
                "finished_at": at,
                **more,
            },
        )

    def delivery(self, name: str, at: datetime, session_id: str | None = None) -> None:
        self.add(
            deliveries,
            id=name,
            session_id=session_id or name,
            platform="telegram",
            chat_id=name,
            text="Вітаю",
            state="sent",
            trace_id=name,
            created_at=at,
            finished_at=at,
        )


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


def figures(shop: Shop, services: FakeServices, **values: Any) -> Day:
    return day_of(shop, settings_for(services, **values), DAY)


def test_an_empty_day_has_no_figures_and_no_burn_rate(shop: Shop, services: FakeServices) -> None:
    found = figures(shop, services)
    assert (found.messages, found.orders_sum, found.cost) == (0, Decimal(0), None)
    assert (found.reply_s, found.slo_share, found.burn_rate) == (None, None, None)
    assert not found.is_over


def test_messages_count_on_the_day_in_the_shop_on_which_their_story_ends(
    shop: Shop, services: FakeServices
) -> None:
    shop.message("before", "answered", BEGAN - timedelta(seconds=1))
    shop.message("first", "answered", BEGAN)
    shop.message("failed", "failed", BEGAN + timedelta(hours=1))
    shop.message("stopped", "cancelled", BEGAN + timedelta(hours=2), session_id="failed")
    shop.message("after", "answered", BEGAN + timedelta(days=1))
    shop.delivery("failed:apology", BEGAN + timedelta(hours=1))
    found = figures(shop, services)
    assert (found.messages, found.answered, found.failed, found.cancelled) == (3, 1, 1, 1)
    assert (found.conversations, found.apologised) == (2, 1)


def test_percentiles_are_of_the_time_from_the_first_message_to_the_delivered_reply(
    shop: Shop, services: FakeServices
) -> None:
    for n in range(100):
        at = BEGAN + timedelta(minutes=n)
        shop.message(f"m{n}", "answered", at, took_s=n + 1)
        shop.delivery(f"m{n}", at)
    # A second message of a turn is answered sooner, and does not count.
    shop.message("later", "answered", BEGAN, took_s=0.1, turn_id="m99")
    found = figures(shop, services, reply_slo_seconds=60, reply_slo_share=0.9)
    assert found.reply_s == {50: 50.25, 90: 90.25, 99: 99.25}
    assert found.slo_share == pytest.approx(0.59)
    assert found.burn_rate == pytest.approx(4.1)


def test_a_message_that_failed_is_late(shop: Shop, services: FakeServices) -> None:
    shop.message("m", "answered", BEGAN)
    shop.delivery("m", BEGAN)
    shop.message("f", "failed", BEGAN)
    assert figures(shop, services).slo_share == pytest.approx(0.5)


def test_orders_count_with_their_sum_once_the_crm_has_them(
    shop: Shop, services: FakeServices
) -> None:
    for name, state in (("a", "created"), ("b", "created"), ("c", "rejected"), ("d", "creating")):
        shop.add(
            orders,
            external_id=name,
            task_id=name,
            session_id="42",
            source="telegram",
            state=state,
            order_data=order(external_id=name),
            trace_id=name,
            created_at=BEGAN,
            updated_at=BEGAN,
        )
    found = figures(shop, services)
    assert (found.orders, found.orders_sum, found.orders_troubled) == (2, Decimal("1999.60"), 1)
    lists = list_orders(shop, state=None, limit=10)
    assert [one.external_id for one in lists.troubled] == ["c"]
    assert len(lists.listed) == 4
    assert [one.external_id for one in list_orders(shop, state="creating", limit=10).listed] == [
        "d"
    ]


def test_tokens_cost_what_the_prices_say(shop: Shop, services: FakeServices) -> None:
    for name, model in (("a", "m/one"), ("b", "m/one"), ("c", "m/two")):
        shop.add(
            turns,
            id=name,
            session_id=name,
            reply="Вітаю",
            model=model,
            prompt_tokens=1_000_000,
            completion_tokens=500_000,
            actions=[],
            answered_at=BEGAN,
        )
    both = figures(shop, services, llm_prices="m/one=0.15/0.60, m/two=1/2")
    assert both.cost == Decimal("2.90")
    assert {one.model: one.cost for one in both.tokens} == {
        "m/one": Decimal("0.90"),
        "m/two": Decimal("2.0"),
    }
    assert figures(shop, services, llm_prices="m/one=0.15/0.60").cost is None


def test_a_follow_up_that_brought_an_answer_is_told_from_one_that_did_not(
    shop: Shop, services: FakeServices
) -> None:
    for name in ("back", "silent", "late"):
        shop.add(
            followups,
            task_id=f"{name}:f",
            session_id=name,
            since=BEGAN - timedelta(days=1),
            number=1,
            taken_at=BEGAN,
        )
        shop.delivery(f"{name}:f", BEGAN, session_id=name)
    shop.message("back", "answered", BEGAN + timedelta(hours=3))
    shop.message("late", "answered", BEGAN + timedelta(hours=80))
    found = figures(shop, services)
    assert (found.followups_sent, found.followups_answered) == (3, 1)


@pytest.mark.parametrize("text", ["yesterday", "2026-02-30", "9999-12-31", "0001-01-01"])
def test_a_day_that_is_none_is_refused(shop: Shop, services: FakeServices, text: str) -> None:
    with pytest.raises(PermanentError, match="must be a day"):
        read_day(text, shop, settings_for(services))


def test_without_a_day_it_is_today_in_the_shop(shop: Shop, services: FakeServices) -> None:
    shop.clock = lambda: BEGAN + timedelta(minutes=1)
    assert read_day("", shop, settings_for(services)) == DAY


@pytest.mark.parametrize("prices", ["m=1", "m=1/x", "=1/2", "m=-1/2", "m"])
def test_a_price_that_is_none_stops_the_start(prices: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a price looks like"):
        Settings(_env_file=None, llm_prices=prices)
