"""The findings of ``mirt doctor`` on real servers when this machine is the one that is wrong."""

from datetime import timedelta

from mirt.clock import utc_now
from service.admin.doctor.doctor import diagnose
from service.admin.doctor.finding import Finding, Severity
from tests.fakes import FakeServices
from tests.settings import settings_for


def clocks_found(services: FakeServices, urls: dict[str, str], off: timedelta) -> list[Finding]:
    found = diagnose(settings_for(services, **urls), clock=lambda: utc_now() + off)
    return [one for one in found if one.about == "clock"]


def test_a_clock_that_is_off_is_found_against_each_server_that_has_one(
    services: FakeServices, rabbitmq_url: str, redis_url: str, database_url: str
) -> None:
    urls = {"rabbitmq_url": rabbitmq_url, "redis_url": redis_url, "database_url": database_url}
    assert [one.severity for one in clocks_found(services, urls, timedelta())] == [Severity.OK] * 2
    late = clocks_found(services, urls, timedelta(seconds=-30))
    assert [one.severity for one in late] == [Severity.ERROR] * 2
    for one, server in zip(late, ("PostgreSQL", "Redis"), strict=True):
        assert one.found.startswith(f"{server} is 3")
        assert one.found.endswith("s ahead of this machine")
        assert one.advice == "synchronise both clocks by NTP"
