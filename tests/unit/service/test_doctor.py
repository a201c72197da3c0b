"""``mirt doctor`` asks each outside service for what is free, over real HTTP."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mirt.llm import openai
from mirt.runtime import open_checkable
from mirt.settings import Settings
from mirt.store.engine.database import Database
from mirt.store.engine.migrate import upgrade
from mirt.store.shop import webhooks
from mirt.store.shop.webhooks import WebhookState
from service.admin.doctor import diagnose
from service.admin.doctor.finding import Finding, Severity
from service.admin.doctor.outside import check_outside_service
from tests.fakes import FakeServices, Garbage, Hang, Status, TooMany
from tests.fakes.telegram import refusal
from tests.settings import settings_for, sqlite_url

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OURS = "https://shop.example/webhooks/telegram"


@pytest.fixture
def settings(services: FakeServices, tmp_path: Path) -> Settings:
    return settings_for(
        services,
        database_url=sqlite_url(tmp_path),
        manychat_api_key="manychat-key",
        manychat_verify_token="flow-token",
        manychat_api_url=services.manychat_url,
        snitkix_api_key="crm-key",
        snitkix_api_url=services.crm_url,
    )


def check(settings: Settings, name: str) -> list[Finding]:
    service = open_checkable(settings)[name]
    return list(check_outside_service(name, service, settings, lambda: NOW))


def first(settings: Settings, name: str) -> tuple[Severity, str, str | None]:
    found = check(settings, name)[0]
    return found.severity, found.found, found.advice


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("telegram", "@fake_bot"),
        ("manychat", "the page Shop"),
        ("llm", "the key is taken, openai/gpt-4o-mini is there"),
        ("crm", "its orders can be searched"),
    ],
)
def test_a_service_that_takes_our_key_is_well(settings: Settings, name: str, says: str) -> None:
    assert first(settings, name) == (Severity.OK, says, None)


@pytest.mark.parametrize(
    ("name", "refused", "setting"),
    [
        ("telegram", refusal(401, "Unauthorized"), "TELEGRAM_BOT_TOKEN"),
        ("telegram", refusal(404, "Not Found"), "TELEGRAM_BOT_TOKEN"),
        ("manychat", Status(401, {"status": "error", "message": "Wrong"}), "MANYCHAT_API_KEY"),
        ("llm", Status(401, {"error": {"message": "No such key"}}), "LLM_API_KEY"),
        ("llm", Status(402, {"error": {"message": "No credits"}}), "LLM_API_KEY"),
        ("crm", Status(403, {"message": "Forbidden"}), "SNITKIX_API_KEY"),
    ],
)
def test_a_refused_key_is_an_error_that_names_its_setting(
    settings: Settings, services: FakeServices, name: str, refused: Status, setting: str
) -> None:
    services.misbehave(name, refused, times=None)
    severity, found, advice = first(settings, name)
    assert severity is Severity.ERROR
    assert found.startswith(f"it refuses us ({refused.code} ")
    assert advice == f"correct {setting} and restart, or mend the account"


@pytest.mark.parametrize("name", ["telegram", "manychat", "llm", "crm"])
@pytest.mark.parametrize("broken", [Status(502), Garbage()], ids=["502", "garbage"])
def test_a_service_that_fails_or_answers_like_another_is_no_service(
    settings: Settings, services: FakeServices, name: str, broken: Any
) -> None:
    services.misbehave(name, broken, times=None)
    assert first(settings, name)[0] is Severity.ERROR


def test_a_service_that_hangs_delays_no_other_check(
    settings: Settings, services: FakeServices
) -> None:
    services.misbehave("llm", Hang(), times=None)
    services.misbehave("crm", Hang(), times=None)
    started = time.monotonic()
    found = {one.about: one for one in diagnose(settings)}
    assert time.monotonic() - started < 20
    assert found["llm"].severity is found["crm"].severity is Severity.ERROR
    assert found["telegram"].found == "@fake_bot"
    services.release()


def test_a_service_that_asks_to_wait_is_no_error(
    settings: Settings, services: FakeServices
) -> None:
    services.misbehave("llm", TooMany(30))
    assert first(settings, "llm")[0] is Severity.WARNING


def test_a_model_that_the_service_does_not_have_is_named(
    settings: Settings, services: FakeServices
) -> None:
    services.llm.models = ["other/model"]
    severity, found, advice = first(settings, "llm")
    assert severity is Severity.WARNING
    assert found == "openai/gpt-4o-mini is not among its 1 models"
    assert advice == "correct LLM_MODEL"


@pytest.mark.parametrize(
    ("credit", "severity"), [(7.5, Severity.OK), (0, Severity.ERROR), (None, Severity.OK)]
)
def test_a_service_whose_models_are_public_is_asked_about_the_key(
    settings: Settings,
    services: FakeServices,
    monkeypatch: pytest.MonkeyPatch,
    credit: float | None,
    severity: Severity,
) -> None:
    monkeypatch.setattr(openai, "KEY_PATHS", {"127.0.0.1": "/key"})
    key = Status(200, {"data": {"label": "sk-or", "limit_remaining": credit}})
    services.misbehave("llm", key, times=None, path="/key")
    assert first(settings, "llm")[0] is severity
    assert services.requests("llm", "/key")


def test_an_api_without_orders_at_the_path_names_the_settings(
    settings: Settings, services: FakeServices
) -> None:
    services.misbehave("crm", Status(404, {"message": "No such path"}))
    severity, _, advice = first(settings, "crm")
    assert severity is Severity.ERROR
    assert advice == "correct SNITKIX_API_URL or SNITKIX_ORDERS_PATH"


def test_no_check_has_an_effect(settings: Settings, services: FakeServices) -> None:
    diagnose(settings)
    assert {(one.method, one.path.rpartition("/")[2]) for one in services.requests()} == {
        ("POST", "getMe"),
        ("POST", "getWebhookInfo"),
        ("GET", "getInfo"),
        ("GET", "models"),
        ("GET", "orders"),
    }


def test_no_finding_shows_a_key(settings: Settings, services: FakeServices) -> None:
    keys = {
        "telegram": "123456:token",
        "manychat": "manychat-key",
        "llm": "llm-key",
        "crm": "crm-key",
    }
    for name, key in keys.items():
        said = {"message": key, "description": key, "error": {"message": key}}
        services.misbehave(name, Status(401, said), times=None)
    told = " ".join(f"{one.found} {one.advice}" for one in diagnose(settings))
    assert told.count("it refuses us (401") == len(keys)
    for key in keys.values():
        assert key not in told


def webhook(settings: Settings) -> tuple[Severity, str, str | None]:
    found = check(settings, "telegram")[1]
    return found.severity, found.found, found.advice


def expect(settings: Settings, **state: Any) -> None:
    upgrade(settings.database_url.get_secret_value())
    database = Database(settings.database_url.get_secret_value())
    with database.transaction() as tx:
        webhooks.write(tx, WebhookState("telegram", **state))
    database.close()


def test_embedded_without_a_webhook_the_messages_are_fetched(settings: Settings) -> None:
    assert webhook(settings) == (Severity.OK, "messages are fetched, 0 wait at Telegram", None)


def test_a_webhook_that_somebody_has_moved_is_an_error(
    settings: Settings, services: FakeServices
) -> None:
    expect(settings, expected_url=OURS)
    services.telegram.webhook = {"url": "https://other.example/hook?secret=x"}
    severity, found, advice = webhook(settings)
    assert severity is Severity.ERROR
    assert found == f"Telegram sends messages to https://other.example/hook, not to {OURS}"
    assert advice == f"mirt telegram set-webhook {OURS}"


def test_a_removed_webhook_is_an_error_where_messages_are_not_fetched(settings: Settings) -> None:
    expect(settings, expected_url=OURS, is_polled=False)
    severity, found, _ = webhook(settings)
    assert severity is Severity.ERROR
    assert found == "Telegram sends messages nowhere: no webhook is set"


def test_the_last_error_and_the_backlog_of_telegram_are_errors(
    settings: Settings, services: FakeServices
) -> None:
    expect(settings, expected_url=OURS)
    services.telegram.webhook = {"url": OURS}
    services.telegram.webhook_state = {
        "pending_update_count": 400,
        "last_error_date": int((NOW - timedelta(minutes=2)).timestamp()),
        "last_error_message": "Connection refused",
    }
    found = [one.found for one in check(settings, "telegram")[1:]]
    assert found == [
        f"Telegram could not deliver to {OURS} 2 min ago: Connection refused",
        "400 updates wait at Telegram",
    ]
