"""Alive says that the process runs; ready asks each dependency, and waits for none too long."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import NoReturn

import pytest
from falcon.testing import Result
from structlog.typing import EventDict

from mirt.errors import DatabaseError
from tests.unit.service.conftest import Open


def well() -> None:
    """A dependency that answers."""


def ill() -> NoReturn:
    raise DatabaseError("no route to db.internal as user mirt")


@pytest.fixture
def hanging() -> Iterator[Callable[[], None]]:
    """A dependency that answers when the test is over."""
    over = Event()

    def hang() -> None:
        over.wait(30)

    yield hang
    over.set()


def ready(ingress: Open, **probes: Callable[[], object]) -> Result:
    return ingress({"probes": probes}).client.simulate_get("/readyz")


def test_alive_asks_nobody(ingress: Open) -> None:
    client = ingress({"probes": {"database": ill}}).client
    answer = client.simulate_get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "alive"})


def test_ready_asks_the_database_that_is_configured(ingress: Open) -> None:
    answer = ingress().client.simulate_get("/readyz")
    assert answer.status_code == 200
    assert answer.json == {"status": "ready", "checks": {"database": "ok"}}


def test_a_database_that_cannot_be_opened_is_503(ingress: Open, tmp_path: Path) -> None:
    here = ingress()
    here.runtime.database.close()
    (tmp_path / "mirt.db").unlink()
    (tmp_path / "mirt.db").mkdir()
    answer = here.client.simulate_get("/readyz")
    assert answer.status_code == 503
    assert answer.json["checks"] == {"database": "failed: DatabaseError"}


def test_without_its_database_it_is_not_ready_and_says_so_without_details(
    ingress: Open, logs: list[EventDict]
) -> None:
    answer = ready(ingress, database=ill, redis=well)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.json == {
        "status": "unavailable",
        "checks": {"database": "failed: DatabaseError", "redis": "ok"},
        "error": "UNAVAILABLE",
        "message": "database: failed: DatabaseError",
    }
    [line] = [line for line in logs if line["event"] == "probe_failed"]
    assert (line["dependency"], line["why"]) == (
        "database",
        "no route to db.internal as user mirt",
    )


@pytest.mark.parametrize("name", ["redis", "rabbitmq"])
def test_without_what_messages_are_kept_without_it_is_degraded(ingress: Open, name: str) -> None:
    answer = ready(ingress, database=well, **{name: ill})
    assert (answer.status_code, answer.json["status"]) == (200, "degraded")
    assert answer.json["checks"] == {"database": "ok", name: "failed: DatabaseError"}


def test_dependencies_that_hang_are_waited_for_together(
    ingress: Open, hanging: Callable[[], None]
) -> None:
    began = time.monotonic()
    answer = ready(ingress, database=hanging, redis=hanging, rabbitmq=hanging)
    assert 1 <= time.monotonic() - began < 2
    assert answer.status_code == 503
    assert set(answer.json["checks"].values()) == {"no answer within 1 s"}


def test_a_dependency_that_hangs_is_asked_once_however_often_we_are(ingress: Open) -> None:
    asked, over = [], Event()

    def hang() -> None:
        asked.append(1)
        over.wait(30)

    client = ingress({"probes": {"database": hang}}).client
    statuses = [client.simulate_get("/readyz").status_code for _ in range(2)]
    over.set()
    assert (statuses, len(asked)) == ([503, 503], 1)
    assert client.simulate_get("/readyz").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_load_balancer_may_ask_with_head(ingress: Open, path: str) -> None:
    answer = ingress().client.simulate_head(path)
    assert (answer.status_code, answer.content) == (200, b"")
