"""The ingress as gunicorn runs it, on real servers that are taken away from it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from mirt.store.engine.migrate import upgrade
from tests.deployment import SECRET, Deployment, deployment, update
from tests.fakes import FakeServices
from tests.polling import START_WITHIN_S, wait_until
from tests.servers import Postgres, RabbitMQ, Redis
from tests.servers.ports import free_port
from tests.settings import sqlite_url

GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "python:service.gunicorn", "service.asgi:app"]
SOON_S = 5.0
"""An answer is due within a second; the rest is for a busy machine."""
HEAD = (
    "POST /webhooks/telegram HTTP/1.1\r\nHost: mirt\r\nContent-Type: application/json\r\n"
    f"X-Telegram-Bot-Api-Secret-Token: {SECRET}\r\n"
).encode()

SECRETS = {"X-Telegram-Bot-Api-Secret-Token": SECRET, "Content-Type": "application/json"}


@contextmanager
def serving(folder: Path, environment: Mapping[str, str]) -> Iterator[int]:
    """Gunicorn, with nothing in its environment but this: its port, once it answers."""
    port = free_port()
    with (folder / "gunicorn.log").open("wb") as log:
        process = subprocess.Popen(
            GUNICORN,
            env={"PATH": os.environ["PATH"], "PORT": str(port), **environment},
            stdout=log,
            stderr=log,
        )
        try:
            wait_until(lambda: answers(port), within_s=START_WITHIN_S)
            yield port
        finally:
            process.terminate()
            process.wait(30)


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an ingress that needs no server but a file."""
    folder = tmp_path_factory.mktemp("alone")
    upgrade(sqlite_url(folder))
    environment = {"DATABASE_URL": sqlite_url(folder), "TELEGRAM_WEBHOOK_SECRET": SECRET}
    with serving(folder, environment) as port:
        yield port


@pytest.fixture
def web(deployed: Deployment) -> Deployment:
    """An ingress that answers, connected to everything."""
    deployed.web()
    ready = {"status": "ready", "checks": {"database": "ok", "redis": "ok", "rabbitmq": "ok"}}
    wait_until(lambda: deployed.get("/readyz").json() == ready)
    return deployed


@pytest.fixture
def deployed(
    services: FakeServices, tmp_path: Path, rabbitmq_url: str, redis_url: str, database_url: str
) -> Iterator[Deployment]:
    """Servers and settings of a distributed service without any process."""
    servers = {"RABBITMQ_URL": rabbitmq_url, "REDIS_URL": redis_url, "DATABASE_URL": database_url}
    with deployment(services, tmp_path, servers) as here:
        yield here


def checks(web: Deployment) -> Any:
    return web.get("/readyz").json()["checks"]


def say(port: int, request: bytes) -> tuple[int, Any]:
    """Status and JSON of the answer to these bytes, after which we send no more."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"x-trace-id: " in head
    return int(head.split()[1]), json.loads(body)


def kept(web: Deployment) -> list[str]:
    return [row.text for row in web.rows("SELECT text FROM inbox ORDER BY id")]


def accepted(web: Deployment, one: dict[str, Any]) -> bool:
    return web.post(one).status_code == 200


@pytest.mark.alone
def test_a_database_that_hangs_is_503_within_a_second_and_no_message_is_lost_or_doubled(
    web: Deployment, postgres: Postgres
) -> None:
    assert web.post(update(7, 0, "m0")).status_code == 200
    updates = [update(7, number, f"m{number}") for number in range(1, 17)]
    with postgres.frozen():
        refused = web.post_all(updates, again=False)
        alive, ready = web.get("/healthz"), web.get("/readyz")
    assert {answer.status_code for answer in refused} == {503}
    assert {answer.headers["Retry-After"] for answer in refused} == {"5"}
    assert max(answer.elapsed.total_seconds() for answer in refused) < SOON_S
    assert alive.status_code == 200
    assert ready.status_code == 503
    assert ready.json()["checks"]["database"] == "no answer within 1 s"
    for again in updates:
        wait_until(partial(accepted, web, again))
    assert sorted(kept(web)) == sorted(f"m{number}" for number in range(17))


@pytest.mark.alone
def test_a_database_that_is_gone_is_503_and_taken_up_again_when_it_is_back(
    web: Deployment, postgres: Postgres
) -> None:
    postgres.stop()
    updates = [update(7, number, "Привіт") for number in range(1, 25)]
    refused = web.post_all(updates, again=False)
    assert {(one.status_code, one.json()["error"]) for one in refused} == {(503, "UNAVAILABLE")}
    assert all(int(one.headers["Retry-After"]) > 0 for one in refused)
    assert max(one.elapsed.total_seconds() for one in refused) < SOON_S
    assert web.get("/readyz").json()["checks"]["database"] == "failed: DatabaseError"
    postgres.start()
    wait_until(lambda: accepted(web, update(7, 1, "Привіт")))
    assert kept(web) == ["Привіт"]


@pytest.mark.alone
@pytest.mark.parametrize("fault", [RabbitMQ.pause, RabbitMQ.kill])
def test_messages_are_kept_within_a_second_while_rabbitmq_hangs_or_is_gone(
    web: Deployment, rabbitmq: RabbitMQ, fault: Callable[[RabbitMQ], None]
) -> None:
    fault(rabbitmq)
    answers = [web.post(update(7, number, f"m{number}")) for number in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert max(answer.elapsed.total_seconds() for answer in answers) < SOON_S
    assert kept(web) == ["m0", "m1", "m2"]


def test_without_rabbitmq_it_is_degraded_and_still_sent_requests(
    web: Deployment, rabbitmq: RabbitMQ
) -> None:
    rabbitmq.kill()
    wait_until(lambda: checks(web)["rabbitmq"] != "ok")
    answer = web.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")


def test_without_redis_it_is_degraded_and_messages_are_kept_once(
    web: Deployment, redis_server: Redis
) -> None:
    redis_server.kill()
    answers = [web.post(update(7, 1, "Привіт")) for _ in range(2)]
    assert [answer.json().get("duplicate", False) for answer in answers] == [False, True]
    ready = web.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["checks"]["redis"] == "failed: ConnectionError"


def test_a_chunked_body_is_read_as_any_other(alone: int) -> None:
    body = json.dumps(update(7, 1, "Привіт")).encode()
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    request = HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks
    assert say(alone, request) == (200, {"status": "accepted"})


@pytest.mark.parametrize("size", [300_000, 1_000_000])
def test_a_chunked_body_without_end_is_ignored_as_too_large(alone: int, size: int) -> None:
    chunks = b"%x\r\n%s\r\n" % (size, b" " * size)
    answer = say(alone, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert answer == (200, {"status": "ignored", "kind": "too_large"})


def test_an_event_of_a_megabyte_is_answered_and_the_connection_stays(alone: int) -> None:
    large = json.dumps(update(7, 1, "x" * 1_000_000)).encode()
    small = json.dumps(update(7, 2, "Привіт")).encode()
    with httpx.Client(base_url=f"http://127.0.0.1:{alone}", headers=SECRETS) as client:
        first = client.post("/webhooks/telegram", content=large)
        second = client.post("/webhooks/telegram", content=small)
    assert first.json() == {"status": "ignored", "kind": "too_large"}
    assert second.status_code == 200


@pytest.mark.parametrize(
    "rest",
    [
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        b'Content-Length: 100\r\n\r\n{"update_id":',
    ],
)
def test_a_body_that_breaks_off_is_refused(alone: int, rest: bytes) -> None:
    status, answer = say(alone, HEAD + rest)
    assert (status, answer["error"]) == (400, "INVALID_JSON")


@pytest.mark.parametrize(
    "request_",
    [HEAD + b"Transfer-Encoding: chunked\r\n\r\nno size\r\n{}\r\n0\r\n\r\n", b"hello\r\n\r\n"],
)
def test_a_request_that_is_no_http_is_refused(alone: int, request_: bytes) -> None:
    status, answer = say(alone, request_)
    assert (status, answer["error"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL"),
        ({"RABBITMQ_URL": "amqp://127.0.0.1"}, "TELEGRAM_BOT_TOKEN: required"),
        ({}, "run: mirt migrate"),
    ],
)
def test_a_setting_that_the_ingress_cannot_work_with_ends_it_with_the_reason(
    tmp_path: Path, environment: dict[str, str], reason: str
) -> None:
    ended = subprocess.run(
        GUNICORN,
        env={
            "PATH": os.environ["PATH"],
            "PORT": str(free_port()),
            "DATABASE_URL": sqlite_url(tmp_path),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode != 0
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_database_that_is_down_at_the_start_does_not_keep_it_from_answering(
    deployed: Deployment,
) -> None:
    nowhere = "postgresql://mirt@127.0.0.1:1/mirt"
    deployed.environment = {**deployed.environment, "DATABASE_URL": nowhere}
    deployed.web()
    assert deployed.post(update(7, 1, "Привіт")).status_code == 503
