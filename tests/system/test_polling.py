"""A bot without a webhook: ``mirt up`` fetches what customers write, and loses none of it."""

import sqlite3
import urllib.request

import pytest

from tests.deployment import update
from tests.fakes import FakeServices, Hang, Status
from tests.polling import wait_until
from tests.system.conftest import Embedded

ELSEWHERE = "https://elsewhere.example/hook"


def test_a_message_in_telegram_gets_its_reply(connected: Embedded, services: FakeServices) -> None:
    services.write(update(7, 1, "Привіт"))
    connected.up()
    assert "messages  come by polling" in connected.output
    assert "write to @fake_bot in Telegram" in connected.output
    [reply] = wait_until(lambda: services.sent(7))
    assert "Привіт" in reply
    services.write(update(8, 1, "Є сукня?"))
    wait_until(lambda: services.sent(8))
    wait_until(lambda: not services.telegram.updates)
    wait_until(lambda: "→ 8 Є сукня?" in connected.output)


def test_a_message_is_answered_once_if_the_process_dies_before_it_is_confirmed(
    connected: Embedded, services: FakeServices
) -> None:
    process = connected.up()
    wait_until(lambda: services.requests("telegram", "/getUpdates"))
    # The request that would confirm never arrives.
    services.misbehave("telegram", Hang(applied=False), path="/getUpdates", times=None)
    services.misbehave("llm", Hang())
    services.write(update(7, 1, "Привіт"))
    wait_until(lambda: services.requests("llm"))
    process.kill()
    process.wait()
    assert [one["update_id"] for one in services.telegram.updates] == [700_001]
    services.mend()
    services.release()
    connected.up()
    wait_until(lambda: services.sent(7))
    wait_until(lambda: not services.telegram.updates)
    connected.stop()
    assert len(services.sent(7)) == 1


def test_a_confirmed_message_is_in_the_mailbox(connected: Embedded, services: FakeServices) -> None:
    connected.up()
    for number in range(1, 6):
        services.write(update(7, number, "Привіт"))
        wait_until(lambda: not services.telegram.updates)
        database = sqlite3.connect(f"file:{connected.home / 'var/mirt.db'}?mode=ro", uri=True)
        [count] = database.execute("SELECT count(*) FROM inbox").fetchone()
        database.close()
        assert count == number


def test_a_webhook_that_is_set_is_named_and_not_deleted(
    connected: Embedded, services: FakeServices
) -> None:
    services.telegram.webhook = {"url": ELSEWHERE}
    services.write(update(7, 1, "Привіт"))
    connected.up()
    assert f"messages  come by webhook: {ELSEWHERE}" in connected.output
    assert "mirt telegram delete-webhook" in connected.output
    asked = {request.path.rpartition("/")[2] for request in services.requests("telegram")}
    assert asked.isdisjoint({"getUpdates", "deleteWebhook", "setWebhook"})
    assert services.telegram.webhook == {"url": ELSEWHERE}


def test_the_webhook_is_deleted_when_somebody_says_so_and_no_message_is_lost(
    connected: Embedded, services: FakeServices
) -> None:
    services.telegram.webhook = {"url": ELSEWHERE}
    services.write(update(7, 1, "Привіт"))
    deleted = connected.mirt("telegram", "delete-webhook")
    assert deleted.returncode == 0, deleted.stderr
    assert ELSEWHERE in deleted.stdout
    [request] = services.requests("telegram", "/deleteWebhook")
    assert request.body == {"drop_pending_updates": False}
    connected.up()
    wait_until(lambda: services.sent(7))


def test_a_token_that_is_refused_is_said_and_the_page_still_opens(
    connected: Embedded, services: FakeServices
) -> None:
    unauthorized = {"ok": False, "error_code": 401, "description": "Unauthorized"}
    services.misbehave("telegram", Status(401, unauthorized), times=None)
    connected.up()
    assert "messages  do not come: telegram refuses us: 401 Unauthorized" in connected.output
    with urllib.request.urlopen(f"http://127.0.0.1:{connected.port}/healthz", timeout=5) as answer:
        assert answer.status == 200
    assert "123456:token" not in connected.output


def test_a_telegram_that_does_not_answer_delays_no_start_for_long(
    connected: Embedded, services: FakeServices
) -> None:
    services.misbehave("telegram", Hang(), times=None)
    connected.up()
    wait_until(lambda: "messages  do not come" in connected.output)
    services.mend()
    services.release()
    services.write(update(7, 1, "Привіт"))
    wait_until(lambda: services.sent(7))
    assert "messages  come by polling" in connected.output


def test_sending_as_a_customer_needs_a_chat_once_a_bot_would_send_the_reply(
    connected: Embedded, services: FakeServices
) -> None:
    connected.up()
    assert "mirt send --chat YOUR_ID" in connected.output
    port = ("--port", str(connected.port))
    before = len(services.requests("llm"))
    refused = connected.mirt("send", "Привіт", *port)
    assert refused.returncode == 2
    assert refused.stderr.startswith("--chat: name your own chat")
    assert len(services.requests("llm")) == before
    sent = connected.mirt("send", "Привіт", "--chat", "77", *port)
    assert sent.returncode == 0, sent.stderr
    assert services.sent(77)


@pytest.mark.parametrize(("api", "code"), [("llm", "LLM_REFUSED"), ("telegram", "CHANNEL_REFUSED")])
def test_sending_says_what_has_failed(
    connected: Embedded, services: FakeServices, api: str, code: str
) -> None:
    connected.up()
    path = "/sendMessage" if api == "telegram" else None
    services.misbehave(api, Status(400), times=None, path=path)
    failed = connected.mirt("send", "Привіт", "--chat", "77", "--port", str(connected.port))
    assert failed.returncode == 1
    assert f"({code})" in failed.stderr
    assert "mirt trace " in failed.stderr
    assert bool(failed.stdout.strip()) == (api == "llm"), "the customer got an apology"


def test_sending_to_a_service_with_another_database_says_so(
    embedded: Embedded, services: FakeServices
) -> None:
    embedded.up()
    embedded.settings = {"DATABASE_URL": f"sqlite:///{embedded.home}/other.db"}
    embedded.mirt("migrate")
    refused = embedded.mirt("send", "Привіт", "--port", str(embedded.port))
    assert refused.returncode == 69
    assert "does not use this database" in refused.stderr
    assert "other.db" in refused.stderr
