"""The metrics of a turn."""

import pytest

from mirt.errors import ExternalServiceError
from tests.unit.observe.test_metrics import here
from tests.unit.turns.conftest import Shop


def test_a_message_has_waited_until_its_turn_began_however_often_that_is_tried(shop: Shop) -> None:
    before = here()
    shop.receive("t1")
    shop.clock.advance(seconds=40)
    shop.receive("t2")
    shop.agent.script = [ExternalServiceError("llm", "away"), "answer"]
    with pytest.raises(ExternalServiceError):
        shop.answer("t1")
    shop.clock.advance(seconds=600)
    shop.receive("t3")
    shop.clock.advance(seconds=5)
    shop.answer("t1")
    after = here()
    name = "mirt_message_wait_seconds"
    # t1 forty seconds, t2 none; t3 came to the second attempt, and waited five.
    assert after.sum(f"{name}_count") - before.sum(f"{name}_count") == 3
    assert after.sum(f"{name}_sum") - before.sum(f"{name}_sum") == pytest.approx(45)


def test_only_a_turn_that_was_closed_has_taken_its_time(shop: Shop) -> None:
    before = here().sum("mirt_turn_seconds_count")
    shop.receive("t1")
    shop.agent.script = [ExternalServiceError("llm", "away"), "answer"]
    with pytest.raises(ExternalServiceError):
        shop.answer("t1")
    assert here().sum("mirt_turn_seconds_count") == before
    shop.clock.advance(seconds=60)
    shop.answer("t1")
    assert here().sum("mirt_turn_seconds_count") == before + 1
