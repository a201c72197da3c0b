"""Whatever a platform sends with our secret is taken: a refusal would block its customer."""

from collections.abc import Callable
from typing import Any

import pytest
from falcon.testing import Result
from hypothesis import HealthCheck, given, settings
from structlog.typing import EventDict

from mirt.store.tables import dead_letters
from tests.deployment import SECRET
from tests.unit.business import rows
from tests.unit.service.conftest import Ingress, Open
from tests.unit.service.web.events import FLOWS, updates

MANY = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
STATUSES = {"accepted", "ignored"}


def takes(here: Ingress, path: str, headers: dict[str, str]) -> Callable[[Any], Result]:
    def post(body: Any) -> Result:
        return here.client.simulate_post(path, json=body, headers=headers)

    return post


@pytest.fixture
def here(ingress: Open) -> Ingress:
    return ingress(telegram_groups="addressed", manychat_verify_token="flow-token")


def failures(here: Ingress, logs: list[EventDict]) -> list[Any]:
    """Return the lines of errors and the tasks that have failed for good."""
    errors = [line for line in logs if line["log_level"] in {"error", "critical"}]
    return [*errors, *rows(here.runtime.database, dead_letters)]


def test_every_update_of_telegram_is_taken(here: Ingress, logs: list[EventDict]) -> None:
    post = takes(here, "/webhooks/telegram", {"X-Telegram-Bot-Api-Secret-Token": SECRET})

    @MANY
    @given(updates())
    def taken(update: Any) -> None:
        answer = post(update)
        assert (answer.status_code, answer.json.get("status") in STATUSES) == (200, True)

    taken()
    assert failures(here, logs) == []


def test_every_request_of_a_flow_is_taken(here: Ingress, logs: list[EventDict]) -> None:
    post = takes(here, "/webhooks/manychat", {"X-ManyChat-Token": "flow-token"})

    @MANY
    @given(FLOWS)
    def taken(request: Any) -> None:
        answer = post(request)
        assert (answer.status_code, answer.json.get("status") in STATUSES) == (200, True)

    taken()
    assert failures(here, logs) == []
