"""Updates are fetched while no webhook is set, and confirmed when the ingress has taken them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from mirt.channels import PollableChannel
from mirt.runtime import open_bot
from service.processes import polling
from service.processes.polling import Arrival, LocalIngress, UpdatePoller
from tests.deployment import update
from tests.fakes import FakeServices, Reset, Status
from tests.polling import wait_until
from tests.settings import settings_for


class Ingress(ThreadingHTTPServer):
    """An ingress that answers as it is told, 200 by default, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int] = []
        self.taken: list[tuple[int, int]] = []
        """The id of each update that was posted, and the status of its answer."""
        self.secrets: list[str | None] = []
        self.gate = threading.Event()
        self.gate.set()


class _Handler(BaseHTTPRequestHandler):
    server: Ingress

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.gate.wait(30)
        status = self.server.answers.pop(0) if self.server.answers else 200
        self.server.secrets.append(self.headers["X-Telegram-Bot-Api-Secret-Token"])
        self.server.taken.append((body["update_id"], status))
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def here() -> Iterator[Ingress]:
    with Ingress() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def bot(services: FakeServices) -> Iterator[PollableChannel]:
    bot = open_bot(settings_for(services))
    assert bot is not None
    yield bot
    bot.close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "LOOK_AGAIN_S", 0.05)
    monkeypatch.setattr(polling, "LONGEST_PAUSE_S", 0.05)


@contextmanager
def polled(bot: PollableChannel, here: Ingress, services: FakeServices) -> Iterator[list[Arrival]]:
    """Poll in the body; yield how messages come, first and after each change."""
    arrivals: list[Arrival] = []
    ingress = LocalIngress("127.0.0.1", here.server_port, SecretStr("s3cret"))
    poller = UpdatePoller(bot, ingress, arrivals.append)
    arrivals.append(poller.arrival)
    poller.start()
    try:
        yield arrivals
    finally:
        poller.stop()
        here.gate.set()
        services.write(update(0, 0, "the last, which ends the long poll"))
        poller.join()


def confirmed(services: FakeServices) -> list[int]:
    """Return the offset of each request that has one."""
    asked = services.requests("telegram", "/getUpdates")
    return [one.body["offset"] for one in asked if "offset" in one.body]


def test_an_update_is_posted_with_the_secret_and_then_confirmed(
    bot: PollableChannel, here: Ingress, services: FakeServices
) -> None:
    with polled(bot, here, services) as arrivals:
        services.write(update(7, 1, "Привіт"))
        wait_until(lambda: confirmed(services) == [700_002])
        assert services.telegram.updates == []
    assert here.taken[0] == (700_001, 200)
    assert here.secrets[0] == "s3cret"
    assert arrivals == [Arrival()]
    assert services.requests("telegram", "/getUpdates")[0].body["allowed_updates"]


def test_no_update_is_confirmed_before_the_ingress_has_answered(
    bot: PollableChannel, here: Ingress, services: FakeServices
) -> None:
    here.gate.clear()
    with polled(bot, here, services):
        services.write(update(7, 1, "Привіт"))
        wait_until(lambda: services.requests("telegram", "/getUpdates"))
        assert confirmed(services) == []
        here.gate.set()
        wait_until(lambda: confirmed(services))
    assert here.taken[0] == (700_001, 200)


def test_an_ingress_that_is_busy_gets_the_update_again_before_any_later_one(
    bot: PollableChannel, here: Ingress, services: FakeServices
) -> None:
    here.answers = [503, 429, 500, 408]
    services.write(update(7, 1, "one"), update(7, 2, "two"))
    with polled(bot, here, services):
        wait_until(lambda: 700_003 in confirmed(services))
    one, two = 700_001, 700_002
    assert here.taken[:6] == [
        (one, 503),
        (one, 429),
        (one, 500),
        (one, 408),
        (one, 200),
        (two, 200),
    ]
    assert confirmed(services)[0] == 700_003


def test_an_update_that_is_refused_for_good_does_not_hold_those_behind_it(
    bot: PollableChannel, here: Ingress, services: FakeServices
) -> None:
    here.answers = [400, 200]
    services.write(update(7, 1, "bad"), update(8, 1, "good"))
    with capture_logs() as logs, polled(bot, here, services):
        wait_until(lambda: confirmed(services))
    assert here.taken[:2] == [(700_001, 400), (800_001, 200)]
    [line] = [line for line in logs if line["event"] == "update_refused"]
    assert line["update_id"] == 700_001


def test_an_update_that_meets_a_bug_is_given_up_after_some_attempts(
    bot: PollableChannel, here: Ingress, services: FakeServices
) -> None:
    here.answers = [500] * polling.ATTEMPTS
    services.write(update(7, 1, "bad"), update(8, 1, "good"))
    with polled(bot, here, services):
        wait_until(lambda: confirmed(services))
    assert here.taken[: polling.ATTEMPTS] == [(700_001, 500)] * polling.ATTEMPTS
    assert here.taken[polling.ATTEMPTS] == (800_001, 200)


def test_a_refused_secret_loses_no_update(
    bot: PollableChannel, here: Ingress, services: FakeServices
) -> None:
    here.answers = [401] * 20
    services.write(update(7, 1, "Привіт"))
    with polled(bot, here, services):
        wait_until(lambda: confirmed(services))
    assert here.taken[19:21] == [(700_001, 401), (700_001, 200)]


def test_a_webhook_that_is_set_is_named_and_left_alone(
    bot: PollableChannel, here: Ingress, services: FakeServices
) -> None:
    services.telegram.webhook = {"url": "https://elsewhere.example/hook"}
    services.write(update(7, 1, "Привіт"))
    with polled(bot, here, services) as arrivals:
        looks = "/getWebhookInfo"
        wait_until(lambda: len(services.requests("telegram", looks)) > 2)
        assert arrivals == [Arrival(webhook="https://elsewhere.example/hook")]
        asked = {request.path.rpartition("/")[2] for request in services.requests("telegram")}
        assert asked == {"getWebhookInfo", "getMe"}
        services.telegram.webhook = {}
        wait_until(lambda: confirmed(services))
        assert arrivals[-1] == Arrival()
    assert here.taken[0] == (700_001, 200)


def test_a_webhook_that_is_set_meanwhile_is_named(
    bot: PollableChannel, here: Ingress, services: FakeServices
) -> None:
    with polled(bot, here, services) as arrivals:
        wait_until(lambda: services.requests("telegram", "/getUpdates"))
        bot.set_webhook("https://elsewhere.example/hook")
        wait_until(lambda: arrivals[-1].webhook == "https://elsewhere.example/hook")
        assert "409" in (arrivals[1].failure or "")


def test_another_program_that_fetches_the_updates_is_named(
    bot: PollableChannel, here: Ingress, services: FakeServices
) -> None:
    description = "Conflict: terminated by other getUpdates request"
    body = {"ok": False, "error_code": 409, "description": description}
    services.misbehave("telegram", Status(409, body), path="/getUpdates", times=3)
    services.write(update(7, 1, "Привіт"))
    with polled(bot, here, services) as arrivals:
        wait_until(lambda: confirmed(services))
    assert description in (arrivals[1].failure or "")
    assert arrivals[2] == Arrival()


def test_one_lost_answer_is_no_news_and_several_are(
    bot: PollableChannel, here: Ingress, services: FakeServices
) -> None:
    services.misbehave("telegram", Reset(), path="/getUpdates", times=1)
    services.write(update(7, 1, "Привіт"))
    with polled(bot, here, services) as arrivals:
        wait_until(lambda: confirmed(services))
        assert arrivals == [Arrival()]
        services.misbehave("telegram", Status(502), path="/getUpdates", times=3)
        services.write(update(7, 2, "Привіт"))
        wait_until(lambda: len(arrivals) > 2)
        assert [bool(arrival.failure) for arrival in arrivals] == [False, True, False]


def test_ids_that_begin_anew_after_a_week_are_not_confirmed_unseen(
    bot: PollableChannel, here: Ingress, services: FakeServices
) -> None:
    with polled(bot, here, services):
        services.write(update(7, 5, "the last of the old"))
        wait_until(lambda: confirmed(services) == [700_006])
        services.write({**update(8, 1, "the first of the new"), "update_id": 3})
        wait_until(lambda: len(here.taken) == 2)
    assert here.taken[1] == (3, 200)


def test_a_token_that_is_refused_is_named(
    bot: PollableChannel, here: Ingress, services: FakeServices
) -> None:
    unauthorized = {"ok": False, "error_code": 401, "description": "Unauthorized"}
    services.misbehave("telegram", Status(401, unauthorized), times=None)
    with polled(bot, here, services) as arrivals:
        assert "401 Unauthorized" in (arrivals[0].failure or "")
        services.mend()
