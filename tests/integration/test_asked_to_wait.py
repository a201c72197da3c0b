"""A 429 is about one chat, or one account: it is left alone for so long, and nobody else is."""

from collections.abc import Callable

import pytest

from actors.messages import send_response
from tests.fakes import FakeWorld, TooMany
from tests.integration.conftest import Running
from tests.waiting import wait_until


@pytest.mark.parametrize("transport", ["embedded", "rabbitmq"])
def test_a_429_holds_its_own_chat_for_all_tasks_and_no_other(
    run: Callable[..., Running], transport: str, world: FakeWorld
) -> None:
    world.misbehave("telegram", TooMany(2), times=1, chat="7")
    run(transport)
    send_response.send("telegram", "7", "first")
    wait_until(lambda: world.requests("telegram"))
    send_response.send("telegram", "7", "second")
    send_response.send("telegram", "8", "elsewhere")
    wait_until(lambda: len(world.sent("7")) == 2)
    refused, elsewhere, *again = (request.time for request in world.requests("telegram"))
    assert elsewhere - refused < 1
    assert len(again) == 2
    assert min(again) - refused >= 2
