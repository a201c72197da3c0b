"""An effect of unknown outcome is a problem, and both of its ways lead to what is known of it."""

from collections.abc import Callable

import pytest
from falcon.testing import TestClient
from sqlalchemy import Table
from typer.testing import CliRunner

from actors.crm import create_crm_order
from mirt.runtime import current_runtime
from mirt.store.tables import deliveries, orders
from service.admin.findings import Problem, findings
from service.admin.queues import activity
from service.app import create_app
from service.cli.app import cli
from service.dispatcher import dispatch_message
from tests.fakes import FakeServices, Reset
from tests.integration.conftest import Running
from tests.polling import wait_until
from tests.unit.business import rows
from tests.unit.orders.examples import order

Run = Callable[..., Running]
BEARER = {"Authorization": "Bearer operators-token"}
CREATED_AFTER_ALL = [("created", 1)]
SENT_AFTER_ALL = [("sent", 1)]
REQUIRED = (
    "rabbitmq_url",
    "redis_url",
    "database_url",
    "telegram_bot_token",
    "telegram_webhook_secret",
    "llm_api_key",
)
"""Settings without which no command starts."""


@pytest.fixture(params=["eager", "rabbitmq"])
def service(run: Run, services: FakeServices, request: pytest.FixtureRequest) -> Running:
    return run(
        request.param,
        snitkix_api_key="crm-key",
        snitkix_api_url=services.crm_url,
        ops_token="operators-token",
    )


def outcomes(table: Table) -> list[tuple[str, int]]:
    return [(row.state, row.unknown) for row in rows(current_runtime().database, table)]


def problem_with(effect: str) -> Problem:
    """The only one of an unknown outcome."""
    found = findings(current_runtime(), activity(current_runtime()), [])
    [problem] = [one for one in found if "unknown outcome" in one.what]
    assert problem.what == f"1 {effect} with an unknown outcome in the last 24 h"
    return problem


def printed(running: Running, command: str) -> str:
    """Return the output of a problem's command, in one line."""
    secrets = {name: getattr(running.settings, name) for name in REQUIRED}
    environment = {
        name.upper(): value.get_secret_value() for name, value in secrets.items() if value
    }
    name, *arguments = command.split()
    assert name == "mirt"
    done = CliRunner().invoke(cli, arguments, env=environment)
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def page(address: str) -> str:
    path, _, query = address.partition("?")
    client = TestClient(create_app(current_runtime()))
    answer = client.simulate_get(path, query_string=query, headers=BEARER)
    assert answer.status_code == 200
    return answer.text


def test_an_order_leads_to_its_conversation(service: Running, services: FakeServices) -> None:
    for chat in ("41", "42", "43"):
        dispatch_message(chat, "Беру", chat_id=chat, fire_and_forget=False)
    services.misbehave("crm", Reset())
    create_crm_order.send(order(source_id="42"))
    wait_until(lambda: outcomes(orders) == CREATED_AFTER_ALL)
    found = problem_with("order")
    assert "1 request of unknown outcome, looked up" in printed(service, found.command)
    listed = page(found.page)
    assert "/ops/trace?id=42" in listed
    assert "/ops/trace?id=41" not in listed


def test_an_order_that_belongs_to_no_conversation_leads_to_its_trace(
    service: Running, services: FakeServices
) -> None:
    services.misbehave("crm", Reset())
    create_crm_order.send(order(source_id="nobody"))
    wait_until(lambda: outcomes(orders) == CREATED_AFTER_ALL)
    found = problem_with("order")
    told = "1 request of unknown outcome, looked up"
    assert told in printed(service, found.command)
    assert told in page(found.page)


def test_a_reply_leads_to_its_conversation(service: Running, services: FakeServices) -> None:
    services.misbehave("telegram", Reset())
    dispatch_message("42", "Беру", chat_id="42", fire_and_forget=True)
    wait_until(lambda: outcomes(deliveries) == SENT_AFTER_ALL)
    found = problem_with("reply")
    assert "may or may not have arrived" in printed(service, found.command)
    assert "/ops/trace?id=42" in page(found.page)
