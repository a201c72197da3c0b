"""A service that asked for a cooldown gets no request sooner, from any process; others do."""

from concurrent.futures import ThreadPoolExecutor

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


def test_a_shorter_wait_does_not_end_a_longer_one() -> None:
    waits = LocalCooldowns()
    waits.start("telegram:7", 30)
    waits.start("telegram:7", 5)
    assert left_of(waits, "telegram:7") > 29
    waits.start("telegram:7", 60)
    assert left_of(waits, "telegram:7") > 59


def test_starts_at_the_same_moment_lose_no_wait() -> None:
    waits = LocalCooldowns()
    for number in range(MOST_KNOWN):
        waits.start(f"over {number}", -1)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: waits.start(str(number), 30), range(2_000)))
    assert len(waits._until) == 2_000


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
    other.start("manychat", 5)
    assert left_of(RedisCooldowns(connect_redis(redis_url)), "manychat") > 29
    other.start("manychat", 60)
    assert left_of(told, "manychat") > 59


def test_without_redis_each_process_knows_what_it_was_told() -> None:
    waits = RedisCooldowns(connect_redis(f"redis://127.0.0.1:{free_port()}/0"))
    waits.start("manychat", 30)
    assert left_of(waits, "manychat") > 29
