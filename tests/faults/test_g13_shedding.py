"""G13: what is accepted while nothing can be worked on is bounded, and answered in the end."""

import httpx
import pytest

from tests.deployment import Deployment, update
from tests.polling import wait_until
from tests.servers import RabbitMQ

LIMIT = 60


@pytest.fixture
def limited(deployed: Deployment) -> Deployment:
    deployed.environment = {**deployed.environment, "BACKLOG_MAX_MESSAGES": str(LIMIT)}
    deployed.start("worker", "llm")
    deployed.web()
    wait_until(lambda: deployed.log_text().count("rabbitmq_connected") >= 2)
    return deployed


def test_without_rabbitmq_messages_are_accepted_up_to_the_limit_and_answered_after_it(
    limited: Deployment, rabbitmq: RabbitMQ
) -> None:
    rabbitmq.stop()
    accepted: list[httpx.Response] = []
    refused: list[httpx.Response] = []

    def write() -> bool:
        chat = 1 + len(accepted)
        answer = limited.post(update(chat, 1, "Привіт"))
        (accepted if answer.status_code == 200 else refused).append(answer)
        return len(refused) >= 10

    wait_until(write, within_s=60, what="so much is waiting that more is refused")
    assert len(accepted) >= LIMIT
    assert {answer.status_code for answer in refused} == {503}
    assert {answer.headers["Retry-After"] for answer in refused} == {"30"}
    assert limited.rows("SELECT count(*) FROM inbox") == [(len(accepted),)]
    rabbitmq.start()
    chats = range(1, len(accepted) + 1)
    wait_until(lambda: all(limited.services.sent(chat) for chat in chats), within_s=40)
    assert [chat for chat in chats if len(limited.services.sent(chat)) != 1] == []
    wait_until(lambda: limited.post(update(999, 1, "Привіт")).status_code == 200)
