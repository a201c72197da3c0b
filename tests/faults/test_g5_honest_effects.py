"""G5: a call whose outcome is unknown is recorded as unknown, and the reply is sent again."""

import os
import signal

import pytest

from tests.deployment import Deployment, children, update
from tests.fakes import Hang, Reset, Status
from tests.polling import wait_until
from tests.servers import Postgres


def delivery(deployed: Deployment) -> tuple[str, int] | None:
    """The state of the only delivery, and how many of its requests are unknown."""
    rows = deployed.rows("SELECT state, unknown FROM deliveries")
    return tuple(rows[0]) if rows else None


def test_a_worker_killed_after_it_sent_leaves_an_unknown_and_it_is_sent_again(
    deployed: Deployment,
) -> None:
    deployed.services.misbehave("telegram", Hang())
    worker = deployed.start("worker", "llm")
    deployed.web()
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: deployed.services.sent(7))
    [child] = children(worker)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: delivery(deployed) == ("sent", 1))
    assert len(deployed.services.sent(7)) == 2
    assert "delivery_unknown" in deployed.log_text()


def test_a_connection_reset_after_sending_is_an_unknown(deployed: Deployment) -> None:
    deployed.services.misbehave("telegram", Reset())
    deployed.start("worker", "llm")
    deployed.web()
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: delivery(deployed) == ("sent", 1))


@pytest.mark.parametrize("status", [408, 502])
def test_a_failure_that_a_proxy_answers_after_sending_is_an_unknown(
    deployed: Deployment, status: int
) -> None:
    deployed.services.misbehave("telegram", Status(status, applied=True))
    deployed.start("worker", "llm")
    deployed.web()
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: delivery(deployed) == ("sent", 1))
    assert len(deployed.services.sent(7)) == 2
    assert deployed.log_text().count("delivery_unknown") == 1


def test_an_answer_of_the_channel_while_the_database_is_away_is_not_unknown(
    deployed: Deployment, postgres: Postgres
) -> None:
    deployed.services.misbehave("telegram", Hang())
    deployed.start("worker", "llm")
    deployed.web()
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: deployed.services.sent(7))
    postgres.stop()
    deployed.services.release()
    wait_until(lambda: "database_away" in deployed.log_text())
    postgres.start()
    wait_until(lambda: (now := delivery(deployed)) and now[0] == "sent")
    assert delivery(deployed) == ("sent", 0)
    assert len(deployed.services.requests("telegram", "/sendMessage")) == 1
