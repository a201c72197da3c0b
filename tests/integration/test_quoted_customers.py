"""An outside service that quotes a customer in its error puts them into no log, event or page."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from mirt.runtime import current_runtime
from mirt.store.tables import dead_letters, deliveries, orders, task_events
from service import dispatcher
from tests.everywhere import as_text
from tests.fakes import FakeServices, Status
from tests.integration.conftest import Running
from tests.unit.orders.examples import order

NAME, WORDS, PHONE = "Оленаприватна", "таємницямоя", "+380501239876"
QUOTE = f"phone {PHONE} of {NAME} is on the stop list: '{WORDS}'"
REFUSALS = {
    "telegram": Status(400, {"ok": False, "error_code": 400, "description": QUOTE}),
    "manychat": Status(400, {"status": "error", "message": QUOTE}),
    "llm": Status(422, {"error": {"message": QUOTE}}),
    "crm": Status(422, {"message": QUOTE}),
}


def write(platform: str) -> None:
    told = {"first_name": NAME}
    dispatcher.dispatch_message(
        "42", f"{WORDS} {PHONE}", platform, "42", metadata=told, fire_and_forget=True
    )


def create_order() -> None:
    customer = {**order()["customer"], "full_name": f"{NAME} {WORDS}", "phone": PHONE}
    dispatcher.dispatch_crm_order(order(customer=customer))


@pytest.mark.parametrize("service", REFUSALS)
def test_no_trace_of_a_refusal_shows_whom_it_is_about(
    run: Callable[..., Running],
    services: FakeServices,
    service: str,
) -> None:
    run(
        "eager",
        snitkix_api_key="crm-key",
        snitkix_api_url=services.crm_url,
        manychat_api_key="mc-key",
        manychat_verify_token="flow-token",
        manychat_api_url=services.manychat_url,
    )
    services.misbehave(service, REFUSALS[service], times=None)
    with capture_logs() as lines:
        if service == "crm":
            create_order()
        else:
            write("manychat" if service == "manychat" else "telegram")
    said = as_text(lines)
    assert "on the stop list" in said, "the reason itself is shown"
    with current_runtime().database.transaction() as tx:
        kept: list[Any] = [
            *tx.execute(select(dead_letters.c.exception, dead_letters.c.traceback)),
            *tx.execute(select(task_events.c.why)),
            *tx.execute(select(deliveries.c.error)),
            *tx.execute(select(orders.c.error)),
        ]
    assert len(list(kept)) >= 2
    steps = current_runtime().timelines.of("42" if service != "crm" else order()["source_id"])
    shown = [step.text for step in steps.steps] if steps else []
    for place in (said, as_text([tuple(row) for row in kept]), as_text(shown)):
        assert [word for word in (NAME, WORDS, PHONE, PHONE[1:]) if word in place] == []
