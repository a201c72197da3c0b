"""A service that asked for a cooldown gets no request sooner, from any process; others do."""

import pytest

from mirt.errors import CooldownError
from mirt.store.engine.redis_client import connect_redis
from mirt.store.shared.cooldowns import MOST_KNOWN, Cooldowns, LocalCooldowns, RedisCooldowns
from tests.servers.ports import free_port


def left_of(waits: Cooldowns, name: str) -> float:
    with pytest.raises(CooldownError) as held:
        waits.check(name)
    return held.value.retry_after


def test_a_wait_holds_its_own_name_until_it_is_over_and_no_other() -> None:
    waits = LocalCooldowns()
    waits.start("telegram:7", 30)
    assert 29 < left_of(waits, "telegram:7") <= 30
    waits.check("telegram:8")
    waits.start("telegram:7", -1)
    waits.check("telegram:7")


def test_waits_that_are_over_are_forgotten() -> None:
    waits = LocalCooldowns()
    for number in range(MOST_KNOWN):
        waits.start(str(number), -1)
    waits.start("last", 30)
    assert list(waits._until) == ["last"]


def test_a_cooldown_of_one_process_is_known_to_all(redis_url: str) -> None:
    told, other = (RedisCooldowns(connect_redis(redis_url)) for _ in range(2))
    told.start("manychat", 30)
    assert 29 < left_of(other, "manychat") <= 30
    other.check("telegram:7")


def test_without_redis_each_process_knows_what_it_was_told() -> None:
    waits = RedisCooldowns(connect_redis(f"redis://127.0.0.1:{free_port()}/0"))
    waits.start("manychat", 30)
    assert left_of(waits, "manychat") > 29
