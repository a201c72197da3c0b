"""Times are shown in the zone of the operator's browser, and in UTC where it names none."""

from datetime import UTC, datetime

import pytest
from falcon.testing import create_req
from sqlalchemy import insert

from mirt.store.tables import conversations
from service.admin_ui.templates import local, utc
from service.admin_ui.zone import COOKIE, zone_of
from tests.unit.service.admin_ui.conftest import Come
from tests.unit.service.conftest import Ingress

SUMMER = datetime(2026, 7, 1, 21, 30, tzinfo=UTC)
WINTER = datetime(2026, 1, 1, 21, 30, tzinfo=UTC)


def zone(name: str) -> object:
    return zone_of(create_req(headers={"Cookie": f"{COOKIE}={name}"}))


def test_a_zone_has_its_own_summer_time() -> None:
    kyiv = zone_of(create_req(headers={"Cookie": f"{COOKIE}=Europe/Kyiv"}))
    assert local(SUMMER, SUMMER, kyiv) == "00:30:00"
    assert local(WINTER, WINTER, kyiv) == "23:30:00"


def test_today_is_today_where_the_operator_is() -> None:
    kyiv = zone_of(create_req(headers={"Cookie": f"{COOKIE}=Europe/Kyiv"}))
    earlier = SUMMER.replace(hour=20, minute=0)
    assert local(earlier, SUMMER, kyiv) == "1 Jul 2026, 23:00:00"
    assert utc(earlier, SUMMER) == "20:00:00 UTC"


@pytest.mark.parametrize(
    "name", ["", "Nowhere/Land", "../../etc/passwd", "/etc/passwd", "Europe", "Europe/", "a" * 999]
)
def test_a_zone_that_does_not_exist_is_utc(name: str) -> None:
    assert zone(name) == zone("UTC")


def test_a_page_shows_times_in_the_zone_and_utc_in_the_title(here: Ingress, come: Come) -> None:
    at = datetime(2026, 1, 1, 21, 30, tzinfo=UTC)
    with here.runtime.database.transaction() as tx:
        tx.execute(
            insert(conversations).values(
                session_id="7", platform="telegram", last_customer_at=at, created_at=at
            )
        )
    visit = come()
    assert 'title="1 Jan 2026, 21:30:00 UTC"' in visit.get("/ops/conversations").text
    visit.cookies[COOKIE] = "Europe/Kyiv"
    page = visit.get("/ops/conversations").text
    assert 'title="1 Jan 2026, 23:30:00 EET, 1 Jan 2026, 21:30:00 UTC"' in page
    assert 'datetime="2026-01-01T21:30:00Z"' in page
