"""An order that waits for a person is seen and decided on the page and at the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from mirt.store.tables import orders
from service.admin_ui.auth.roles import Role
from service.cli.app import cli
from tests.deployment import update
from tests.fakes import FakeServices
from tests.settings import sqlite_url
from tests.unit.orders.examples import order
from tests.unit.service.admin_ui.conftest import Come, come, here
from tests.unit.service.conftest import Ingress

__all__ = ["come", "here"]

CUSTOMER, [ITEM] = order()["customer"], order()["items"]
LARGE = {"customer": CUSTOMER, "items": [{**ITEM, "price": 30_000, "quantity": 1}]}


@pytest.fixture
def waiting(here: Ingress, services: FakeServices) -> str:
    """Let the agent ask for a large order; return its id."""
    services.llm.calls = lambda _: [("create_order", json.dumps(LARGE))]
    here.post(update(7, 1, "Так, підтверджую"))
    with here.runtime.database.transaction() as tx:
        return str(tx.execute(select(orders.c.external_id)).scalar_one())


def state_of(here: Ingress) -> str:
    with here.runtime.database.transaction() as tx:
        return str(tx.execute(select(orders.c.state)).scalar_one())


@pytest.fixture
def run(waiting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DATABASE_URL", sqlite_url(tmp_path))
    monkeypatch.chdir(tmp_path)
    return lambda *command: CliRunner().invoke(cli, list(command))


def test_the_page_shows_it_without_its_customer_and_approves_it(
    here: Ingress, come: Come, waiting: str
) -> None:
    assert "1 order waits for a person" in come().get("/ops").text
    page = come(Role.READER).get("/ops/orders").text
    assert waiting in page
    assert "30,000.00" in page
    assert CUSTOMER["full_name"] not in page
    assert "Approve" not in page, "a reader decides nothing"
    visit = come(Role.OPERATOR)
    assert CUSTOMER["full_name"] in visit.get("/ops/orders?texts=1").text
    visit.send("/ops/orders", order=waiting, do="approve")
    assert state_of(here) == "creating"
    visit.send("/ops/orders", order=waiting, do="refuse")
    assert state_of(here) == "creating", "it is decided once"


def test_a_reader_cannot_refuse_it(here: Ingress, come: Come, waiting: str) -> None:
    assert come(Role.READER).send("/ops/orders", order=waiting, do="refuse").status_code == 403
    assert state_of(here) == "needs_approval"


def test_a_decision_that_is_none_is_refused(here: Ingress, come: Come, waiting: str) -> None:
    assert come().send("/ops/orders", order=waiting, do="ship").status_code == 400
    assert state_of(here) == "needs_approval"


def test_the_command_line_lists_it_and_names_the_commands(run: Any, waiting: str) -> None:
    assert "mirt orders list" in run("inspect").output
    told = run("orders", "list").output
    assert f"mirt orders approve {waiting}" in told
    assert "AGENT_MAX_ORDER_TOTAL" in told
    assert CUSTOMER["full_name"] not in told
    assert CUSTOMER["full_name"] in run("orders", "list", "--texts").output
    [document] = json.loads(run("orders", "list", "--json").output)["orders"]
    assert (document["id"], document["total"], "customer" in document) == (waiting, "30000", False)
