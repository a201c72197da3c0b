"""A stored error, which every operator can read for days, holds no secret."""

from collections.abc import Callable
from typing import Any

import pytest
from dramatiq.results import ResultFailure

from actors.crm import create_crm_order
from actors.messages import send_response
from mirt.errors import PermanentError
from mirt.observe.secrets import REDACTED
from mirt.store.tables import dead_letters, deliveries, orders, task_events
from tests.fakes import FakeServices, Status
from tests.integration.conftest import Running, rows
from tests.polling import wait_until
from tests.unit.orders.examples import order

Run = Callable[..., Running]
SECRET = "sk-snit/kix 9f8e7d"
IN_URL = "sk-snit%2Fkix%209f8e7d"


@pytest.mark.parametrize("said", [SECRET, IN_URL])
def test_a_crm_that_repeats_our_key_does_not_get_it_kept(
    run: Run, services: FakeServices, said: str
) -> None:
    services.misbehave("crm", Status(422, {"error": f"no such key: {said}"}))
    run("eager", snitkix_api_key=SECRET, snitkix_api_url=services.crm_url)
    create_crm_order.send(order())
    kept = [rows(table) for table in (orders, dead_letters, task_events)]
    assert [len(found) for found in kept] == [1, 1, 1]
    assert said not in str(kept)
    assert "9f8e7d" not in str(kept)


def test_a_delivery_that_fails_keeps_its_error_without_the_token(
    run: Run, services: FakeServices
) -> None:
    said = {"ok": False, "error_code": 400, "description": f"not for {IN_URL}"}
    services.misbehave("telegram", Status(400, said))
    run("eager", ops_token=SECRET)
    sent = send_response.send("telegram", "7", "hello")
    [delivery], [dead_letter] = rows(deliveries), rows(dead_letters)
    with pytest.raises(ResultFailure) as failed:
        sent.get_result()
    for text in (delivery.error, dead_letter.exception, dead_letter.traceback, str(failed.value)):
        assert REDACTED in text
        assert "9f8e7d" not in text


def test_a_traceback_is_kept_without_the_secrets_of_its_causes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: Any, **__: Any) -> None:
        try:
            raise ValueError(f"Authorization: Bearer {SECRET}")
        except ValueError as inner:
            raise KeyError("outer") from inner

    run("eager", ops_token=SECRET)
    message = send_response.message("telegram", "7", "hello")
    monkeypatch.setattr(send_response, "fn", work)
    send_response.broker.enqueue(message)
    [dead_letter] = rows(dead_letters)
    assert "Authorization: Bearer" in dead_letter.traceback
    assert SECRET not in dead_letter.traceback


def test_an_error_on_postgres_is_kept_without_secrets(run: Run, services: FakeServices) -> None:
    said = {"ok": False, "error_code": 400, "description": f"not for {SECRET}"}
    services.misbehave("telegram", Status(400, said))
    run("rabbitmq", ops_token=SECRET)
    send_response.send("telegram", "7", "hello")
    [dead_letter] = wait_until(lambda: rows(dead_letters))
    [delivery] = rows(deliveries)
    assert REDACTED in dead_letter.exception
    assert REDACTED in delivery.error
    assert "9f8e7d" not in str((dead_letter, delivery))
    assert PermanentError.__name__ in dead_letter.exception
