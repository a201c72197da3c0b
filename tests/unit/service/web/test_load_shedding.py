"""Too much is refused with a time to come back; what was accepted before is not forgotten."""

import pytest

from mirt.errors import RateLimitError
from mirt.store.reports.backlog import Backlog
from service.web.load_shedding import MEASURE_EVERY_S, RETRY_AFTER_S, LoadShedder
from tests.deployment import update
from tests.unit.service.conftest import Open


@pytest.fixture
def now() -> list[float]:
    return [0.0]


def shedding(now: list[float], backlogs: list[Backlog]) -> LoadShedder:
    looks = iter(backlogs)
    return LoadShedder(lambda: next(looks), max_messages=10, max_wait_s=60, clock=lambda: now[0])


@pytest.mark.parametrize("backlog", [Backlog(10, 0), Backlog(1, 60)])
def test_a_full_backlog_admits_nobody_and_says_why(now: list[float], backlog: Backlog) -> None:
    with pytest.raises(RateLimitError, match="BACKLOG_MAX") as refused:
        shedding(now, [backlog]).admit()
    assert refused.value.retry_after == RETRY_AFTER_S


def test_a_backlog_below_its_limits_admits(now: list[float]) -> None:
    shedding(now, [Backlog(9, 59)]).admit()


def test_the_backlog_is_looked_at_once_a_second(now: list[float]) -> None:
    access = shedding(now, [Backlog(10, 0), Backlog(9, 0)])
    for _ in range(5):
        with pytest.raises(RateLimitError):
            access.admit()
    now[0] += MEASURE_EVERY_S
    access.admit()


def test_a_webhook_above_the_limit_is_told_when_to_come_again_and_not_kept(
    ingress: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.web.load_shedding.MEASURE_EVERY_S", 0)
    here = ingress(TASKS_EAGER=False, BACKLOG_MAX_MESSAGES=2)
    answers = [here.post(update(chat, 1, "Привіт")) for chat in range(1, 5)]
    assert [answer.status_code for answer in answers] == [200, 200, 503, 503]
    assert answers[2].headers["Retry-After"] == str(RETRY_AFTER_S)
    assert answers[2].json["error"] == "UNAVAILABLE"
    assert here.runtime.conversations.backlog(count_to=100).messages == 2
