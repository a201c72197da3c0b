"""A worker that stood still between the announcement and the request makes sure of its lease."""

from collections.abc import Callable

import pytest

from mirt.conversations import as_task
from mirt.errors import LeaseLostError
from mirt.store.engine.database_clock import steady_s
from mirt.store.queue.leases import Lease
from mirt.store.tables import turns
from tests.unit.business import mail, rows
from tests.unit.turns.conftest import Shop


def stand_still_before_the_request(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]
) -> Lease:
    """Let the lease run out after the reply is stored and announced, and before it is sent."""
    shop.receive("t1")
    lease = shop.claim(as_task(mail("t1")))
    assert lease.validity is not None
    validity, split, calls = lease.validity, shop.console.split, [meanwhile]

    def split_late(text: str, chat_id: str) -> list[str]:
        if rows(shop.database, turns) and calls:
            validity.until = steady_s() - 1
            calls.pop()()
        return split(text, chat_id)

    monkeypatch.setattr(shop.console, "split", split_late)
    return lease


def test_a_reply_that_another_worker_has_taken_over_is_not_sent(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_over() -> None:
        shop.clock.advance(seconds=11)
        shop.claim(as_task(mail("t1")), owner="another")

    lease = stand_still_before_the_request(shop, monkeypatch, take_over)
    with pytest.raises(LeaseLostError):
        shop.turns.answer(lease, mail("t1"))
    assert shop.shown == []


def test_a_lease_that_is_free_still_is_renewed_and_the_reply_sent(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = stand_still_before_the_request(shop, monkeypatch, lambda: None)
    shop.turns.answer(lease, mail("t1"))
    assert shop.shown == [("7", "answer 1")]
    assert lease.validity is not None
    assert lease.validity.until > steady_s()
