"""``mirt telegram``: the webhook is registered with its secret, and what Telegram says is shown."""

import json

import pytest

from tests.fakes import FakeServices, Status
from tests.system.conftest import Embedded

SECRET = "s3cret"


@pytest.fixture
def shop(embedded: Embedded, services: FakeServices) -> Embedded:
    embedded.settings = {
        "TELEGRAM_BOT_TOKEN": "123456:token",
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        "TELEGRAM_API_URL": services.telegram_url,
    }
    return embedded


@pytest.mark.parametrize(
    "url", ["https://shop.example", "https://shop.example/webhooks/telegram", "https://a.b:8443/x"]
)
def test_messages_and_nothing_else_are_asked_for_with_the_secret(
    shop: Embedded, services: FakeServices, url: str
) -> None:
    done = shop.mirt("telegram", "set-webhook", url)
    assert done.returncode == 0, done.stderr
    address = "https://shop.example/webhooks/telegram" if "shop" in url else url
    assert services.telegram.webhook == {
        "url": address,
        "allowed_updates": ["message", "edited_message", "my_chat_member"],
        "secret_token": SECRET,
    }
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("url", ["http://shop.example", "shop.example", "https://a.b:8000"])
def test_an_address_that_telegram_would_not_take_is_not_sent(
    shop: Embedded, services: FakeServices, url: str
) -> None:
    refused = shop.mirt("telegram", "set-webhook", url)
    assert refused.returncode == 2
    assert "Telegram" in refused.stderr
    assert services.requests("telegram") == []


def test_the_report_of_telegram_is_shown(shop: Embedded, services: FakeServices) -> None:
    report = {
        "url": "https://shop.example/webhooks/telegram",
        "pending_update_count": 17,
        "last_error_date": 1790000000,
        "last_error_message": "Connection timed out",
    }
    services.misbehave("telegram", Status(200, {"ok": True, "result": report}), times=2)
    shown = shop.mirt("telegram", "info")
    for text in ("shop.example/webhooks", "17", "Connection timed out (2026-09-21 14:13:20 UTC)"):
        assert text in shown.stdout
    assert json.loads(shop.mirt("telegram", "info", "--json").stdout) == report


def test_a_refusal_of_telegram_is_shown_without_the_token(
    shop: Embedded, services: FakeServices
) -> None:
    services.misbehave("telegram", Status(401, {"ok": False, "description": "Unauthorized"}))
    refused = shop.mirt("telegram", "info")
    assert refused.returncode == 1
    assert refused.stderr.startswith("TELEGRAM_BOT_TOKEN: telegram refuses us: 401 Unauthorized")
    assert "123456:token" not in refused.stderr + refused.stdout


def test_without_a_bot_it_says_which_variable_is_missing(embedded: Embedded) -> None:
    refused = embedded.mirt("telegram", "info")
    assert refused.returncode == 78
    assert "TELEGRAM_BOT_TOKEN" in refused.stderr
