"""The fake world keeps the promises that the tests of everything else lean on."""

import http.client
import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fakes import Delay, FakeServices, Hang, RemoteServices, Status


def post(url: str, body: Any, method: str = "POST") -> tuple[int, Any]:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.netloc, timeout=30)
    try:
        headers = {"Authorization": "Bearer key"}
        path = f"{where.path}?{where.query}"
        connection.request(method, path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def say(services: FakeServices | RemoteServices, chat: int, text: str) -> int:
    url = f"{services.telegram_url}/bot1:t/sendMessage"
    return post(url, {"chat_id": chat, "text": text})[0]


def test_500_slow_requests_are_held_at_once(services: FakeServices) -> None:
    services.latency["telegram"] = 1
    began = time.monotonic()
    with ThreadPoolExecutor(500) as threads:
        statuses = set(threads.map(lambda n: say(services, n, "hi"), range(500)))
    assert statuses == {200}
    assert time.monotonic() - began < 15


def test_rules_apply_in_order_as_often_as_told_and_where_they_match(services: FakeServices) -> None:
    rule = services.misbehave("telegram", Status(500), times=2, match="сукня")
    services.misbehave("telegram", Status(403), chat=8)
    said = [say(services, 7, "сукня"), say(services, 7, "hi"), say(services, 8, "сукня")]
    said += [say(services, 8, "сукня"), say(services, 8, "сукня")]
    assert said == [500, 200, 500, 403, 200]
    assert rule.used == 2


def test_the_fake_records_the_request_that_took_effect(services: FakeServices) -> None:
    services.misbehave("telegram", Status(500))
    say(services, 7, "one")
    say(services, 7, "two")
    say(services, 8, "three")
    assert services.sent(7) == ["two"]
    assert [request.body["text"] for request in services.requests("telegram")] == [
        "one",
        "two",
        "three",
    ]


def test_a_hanging_request_is_held_until_released(services: FakeServices) -> None:
    services.misbehave("telegram", Hang())
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(say, services, 7, "hi")
        services.wait_until(lambda: services.sent(7) == ["hi"])
        assert not call.done()
        services.release()
        assert call.result(10) == 200


@pytest.mark.parametrize("what", [Hang(), Delay(60)])
def test_the_end_of_the_world_waits_for_nobody(what: Hang | Delay) -> None:
    with ThreadPoolExecutor(1) as threads, FakeServices() as services:
        services.misbehave("telegram", what)
        threads.submit(say, services, 7, "hi")
        services.wait_until(lambda: services.sent(7) == ["hi"])
        began = time.monotonic()
        services.close()
        assert time.monotonic() - began < 5


def test_the_crm_keeps_what_it_was_told(services: FakeServices) -> None:
    order = {"external_id": "e1", "customer": {"name": "Оля"}, "items": [{}], "total": "10.00"}
    orders = f"{services.crm_url}/api/orders"
    status, created = post(orders, order)
    assert (status, created["status"]) == (201, "new")
    assert post(f"{orders}/{created['id']}", {"status": "paid"}, "PATCH")[1]["status"] == "paid"
    assert post(f"{orders}?external_id=e1", None, "GET")[1]["data"] == services.crm.orders
    assert post(f"{orders}?external_id=e2", None, "GET")[1]["data"] == []
    assert post(orders, {"external_id": "e2"})[0] == 422


def test_an_order_asked_for_twice_is_there_twice(services: FakeServices) -> None:
    order = {"external_id": "e1", "customer": {"name": "Оля"}, "items": [{}], "total": "10.00"}
    for _ in range(2):
        post(f"{services.crm_url}/api/orders", order)
    assert [kept["external_id"] for kept in services.crm.orders] == ["e1", "e1"]


def test_a_text_that_telegram_would_refuse_is_refused(services: FakeServices) -> None:
    assert [say(services, 7, text) for text in ("", " \n", "😀" * 2049)] == [400, 400, 400]
    assert say(services, 7, "😀" * 2048) == 200


def test_as_a_process_it_is_told_what_to_do_over_http() -> None:
    command = [sys.executable, "-m", "tests.fakes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        services = RemoteServices(process.stdout.readline().strip())
        services.misbehave("telegram", Status(503, {"why": "told"}), times=1, chat=7)
        assert [say(services, 7, "one"), say(services, 7, "two")] == [503, 200]
        assert services.sent(7) == ["two"]
        assert [request.chat for request in services.requests("telegram")] == ["7", "7"]
        services.reset()
        assert services.requests() == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_command_that_makes_no_sense_is_refused(services: FakeServices) -> None:
    for body in ({}, {"api": "fax", "kind": "status", "args": {"code": 500}}, {"kind": "rain"}):
        assert post(f"{services.url}/_control/misbehave", body)[0] == 400
