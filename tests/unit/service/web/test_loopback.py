"""The embedded mode serves its own machine, and a tunnel only with the webhook secret."""

from collections.abc import Mapping

import pytest
from falcon.testing import Result

from service.web.loopback import LoopbackGuard
from tests.deployment import SECRET, update
from tests.unit.service.conftest import Ingress, Open

HERE = "127.0.0.1:8000"
PATHS = (
    "/webhooks/telegram",
    "/webhooks/manychat",
    "/ops",
    "/metrics",
    "/readyz",
    "/healthz",
    "/x",
)
FOREIGN = [
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "10.0.0.1:8000"},
    {"Host": "[::2]:8000"},
    {"Host": "["},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://127.0.0.1:9000"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    {"Origin": "http://["},
]


@pytest.fixture
def guarded(ingress: Open) -> Ingress:
    """``mirt up`` without a webhook secret, for which Telegram was given one."""

    def has_secret(headers: Mapping[str, str]) -> bool:
        return headers.get("x-telegram-bot-api-secret-token") == SECRET

    guard = LoopbackGuard({"/webhooks/telegram": has_secret})
    return ingress({"guard": guard}, telegram_webhook_secret=None, ops_token="operators-token")


def ask(here: Ingress, path: str, method: str = "GET", **headers: str) -> Result:
    host = headers.pop("Host", HERE)
    answer = here.client.simulate_request(method, path, host=host, headers=headers)
    assert isinstance(answer, Result)
    return answer


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_foreign_request_is_refused_at_every_address(
    guarded: Ingress, path: str, headers: dict[str, str]
) -> None:
    for method in ("GET", "POST"):
        answer = ask(guarded, path, method, **headers)
        assert (answer.status_code, answer.json["error"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_this_machine_is_served(guarded: Ingress, host: str) -> None:
    for site in ({}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin"}):
        assert ask(guarded, "/healthz", Host=host, **site).status_code == 200
    answer = guarded.post(update(7, 1, "hello"), secret=None, host=host)
    assert answer.json == {"status": "accepted"}


def test_our_own_pages_are_served_with_the_origin_that_their_browser_sends(
    guarded: Ingress,
) -> None:
    for origin in ("null", f"http://{HERE}"):
        assert ask(guarded, "/ops", Origin=origin).status_code == 401
    assert ask(guarded, "/webhooks/telegram", "POST", Origin="null").status_code == 403


@pytest.mark.parametrize(
    "through", [{"Host": "shop.tunnel.example"}, {"X-Forwarded-For": "203.0.113.7"}], ids=str
)
def test_a_webhook_through_a_tunnel_needs_the_secret(
    guarded: Ingress, through: dict[str, str]
) -> None:
    headers = {**through}
    host = headers.pop("Host", HERE)
    for secret, status in ((None, 403), ("wrong", 403), (SECRET, 200)):
        answer = guarded.post(update(7, 1, "hello"), secret=secret, host=host, headers=headers)
        assert answer.status_code == status
    assert ask(guarded, "/webhooks/manychat", "POST", **through).status_code == 403


def test_a_body_without_a_type_is_taken_from_no_page(ingress: Open) -> None:
    here = ingress()
    secret = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    for origin, status in (({}, 200), ({"Origin": "https://evil.example"}, 415)):
        answer = here.client.simulate_post(
            "/webhooks/telegram", body=b'{"update_id": 1}', headers={**secret, **origin}
        )
        assert answer.status_code == status
