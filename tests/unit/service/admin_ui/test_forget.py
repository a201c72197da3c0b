"""An operator erases a customer on the page, after the page has shown what is erased."""

import pytest

from mirt.store.tables import audit, conversations
from service.admin_ui.auth.roles import Role
from tests.deployment import update
from tests.everywhere import in_database
from tests.unit.business import rows
from tests.unit.service.admin_ui.conftest import Come
from tests.unit.service.conftest import Ingress


@pytest.fixture
def customer(here: Ingress) -> Ingress:
    person = {"id": 7, "is_bot": False, "first_name": "Оленаприватна"}
    here.post(update(7, 1, "таємниця", **{"from": person}))
    return here


def test_the_page_shows_the_counts_and_erases_only_what_is_confirmed(
    customer: Ingress, come: Come
) -> None:
    visit = come(Role.OPERATOR)
    assert "/ops/forget?id=7" in visit.get("/ops/trace?id=7").text
    asked = visit.get("/ops/forget?id=7").text
    assert "conversations" in asked
    assert "Оленаприватна" not in asked
    assert "Forget this customer?" in visit.send("/ops/forget", id="7").text
    assert rows(customer.runtime.database, conversations)
    done = visit.send("/ops/forget", id="7", confirmed="yes")
    assert done.status_code == 303
    assert in_database(customer.runtime.database, ["Оленаприватна", "таємниця"]) == []
    [act] = [one for one in rows(customer.runtime.database, audit) if one.act == "forget"]
    assert (act.target, act.session_id) == ("a forgotten customer", None)
    assert visit.get("/ops/forget?id=7").status_code == 404


def test_a_reader_sees_no_button_and_erases_nothing(customer: Ingress, come: Come) -> None:
    visit = come(Role.READER)
    assert "/ops/forget" not in visit.get("/ops/trace?id=7").text
    assert "Erase" not in visit.get("/ops/forget?id=7").text
    assert visit.send("/ops/forget", id="7", confirmed="yes").status_code == 403
    assert rows(customer.runtime.database, conversations)
