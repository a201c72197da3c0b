"""A customer who has blocked us is no failure: a state, until they write again."""

from datetime import datetime, timedelta

import pytest

from mirt.channels import ReachabilityChange
from mirt.errors import ErrorCode, UnreachableError
from mirt.reachability import Reachability
from mirt.store.tables import conversations, deliveries, inbox
from tests.unit.business import mail, rows
from tests.unit.turns.conftest import Shop

BLOCKED = UnreachableError("telegram: 403 blocked", ErrorCode.CHANNEL_REFUSED)


def since(shop: Shop) -> datetime | None:
    found: datetime | None = rows(shop.database, conversations)[0].unreachable_since
    return found


def blocks(shop: Shop, at: datetime, *, is_reachable: bool = False, chat: str = "s") -> None:
    Reachability(shop.database).record(ReachabilityChange("telegram", chat, is_reachable, at))


def test_the_turn_ends_well_and_its_delivery_says_why_it_was_not_sent(shop: Shop) -> None:
    shop.receive("t1")
    shop.clock.advance(seconds=2)
    shop.console.script = [BLOCKED]
    result = shop.answer("t1").result or {}
    assert result["delivery"]["status"] == "unreachable"
    (delivery,) = rows(shop.database, deliveries)
    assert (delivery.state, delivery.error) == ("unreachable", "telegram: 403 blocked")
    assert delivery.finished_at == shop.clock.now
    assert [row.state for row in rows(shop.database, inbox)] == ["answered"]
    assert (since(shop), shop.head()) == (shop.clock.now, None)


def test_a_long_reply_is_not_tried_again_part_by_part(shop: Shop) -> None:
    shop.receive("t1")
    shop.agent.script = ["слово " * 2000]
    shop.console.script = [None, BLOCKED]
    shop.answer("t1")
    assert len(shop.shown) == 1
    (delivery,) = rows(shop.database, deliveries)
    assert (delivery.state, delivery.parts_sent) == ("unreachable", 1)


def test_a_run_after_a_crash_sends_nothing_again(shop: Shop) -> None:
    shop.receive("t1")
    shop.console.script = [BLOCKED]
    shop.answer("t1")
    lease = shop.claim_again("t1")
    result = shop.turns.answer(lease, mail("t1")).result or {}
    assert result["delivery"]["status"] == "unreachable"
    assert shop.shown == []


def test_the_next_message_ends_it_and_is_answered(shop: Shop) -> None:
    shop.receive("t1")
    shop.console.script = [BLOCKED]
    shop.answer("t1")
    shop.clock.advance(seconds=1)
    shop.receive("t2")
    assert since(shop) is None
    shop.answer("t2")
    assert shop.shown == [("7", "answer 2")]


def test_a_customer_who_has_written_during_the_request_is_reachable(shop: Shop) -> None:
    shop.receive("t1")
    shop.clock.advance(seconds=1)

    def written_meanwhile(_chat: str, _part: str) -> None:
        shop.clock.advance(seconds=1)
        shop.receive("t2")
        raise BLOCKED

    shop.console._show = written_meanwhile
    shop.answer("t1")
    assert since(shop) is None


def test_the_platform_s_news_of_a_block_counts_without_a_delivery(shop: Shop) -> None:
    shop.receive("t1")
    at = shop.clock.now + timedelta(seconds=5)
    blocks(shop, at)
    assert since(shop) == at
    blocks(shop, at + timedelta(seconds=5))
    assert since(shop) == at, "a second copy, and the time of the first"


def test_the_platform_s_news_of_an_unblock_ends_it(shop: Shop) -> None:
    shop.receive("t1")
    at = shop.clock.now + timedelta(seconds=5)
    blocks(shop, at)
    blocks(shop, at + timedelta(seconds=5), is_reachable=True)
    assert since(shop) is None


def test_late_news_of_a_block_does_not_count_for_who_has_written_since(shop: Shop) -> None:
    at = shop.clock.now
    shop.clock.advance(seconds=5)
    shop.receive("t1")
    blocks(shop, at)
    assert since(shop) is None


@pytest.mark.parametrize("chat", ["other", "7"])
def test_the_news_of_one_customer_does_not_change_another(shop: Shop, chat: str) -> None:
    shop.receive("t1")
    blocks(shop, shop.clock.now + timedelta(seconds=5), chat=chat)
    assert since(shop) is None
