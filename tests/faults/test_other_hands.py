"""RabbitMQ under other people's hands: each act of its management UI is survived, or reported."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.deployment import Deployment, update
from tests.polling import wait_until
from tests.servers import Postgres, RabbitMQ

SOON_S = 30


class Hands:
    """An operator of RabbitMQ who uses its management API."""

    def __init__(self, rabbitmq: RabbitMQ, url: str) -> None:
        self._ask = rabbitmq.management.request
        self._close = rabbitmq.management.close_connections
        self.vhost = urlsplit(url).path.removeprefix("/")

    def delete(self, queue: str) -> None:
        self._ask("DELETE", "queues", self.vhost, queue)

    def create(self, queue: str, **arguments: Any) -> None:
        body = {"durable": True, "arguments": arguments}
        self._ask("PUT", "queues", self.vhost, queue, body=body)

    def limit(self, queue: str, **definition: Any) -> None:
        body = {"pattern": f"^{queue}$", "definition": definition, "apply-to": "queues"}
        self._ask("PUT", "policies", self.vhost, "limits", body=body)

    def delete_all(self) -> None:
        """Delete the virtual host with all of its queues and permissions."""
        self._ask("DELETE", "vhosts", self.vhost)

    def purge(self, queue: str) -> None:
        self._ask("DELETE", "queues", self.vhost, queue, "contents")

    def close_connections(self) -> None:
        """Close everything that is connected."""
        wait_until(lambda: self._close(self.vhost))

    def queue(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("GET", "queues", self.vhost, name)
        return found


@pytest.fixture
def hands(rabbitmq: RabbitMQ, rabbitmq_url: str) -> Hands:
    return Hands(rabbitmq, rabbitmq_url)


@pytest.fixture
def working(deployed: Deployment) -> Deployment:
    """A deployment that has answered its first message."""
    deployed.start("worker", "--threads", "4")
    deployed.web()
    deployed.post(update(1, 0, "Привіт"))
    wait_until(lambda: deployed.services.sent(1))
    return deployed


def answers(deployed: Deployment, chat: int, *, within_s: float = SOON_S) -> None:
    deployed.post(update(chat, chat, "Є сукня?"))
    wait_until(lambda: deployed.services.sent(chat), within_s=within_s)


def errors(deployed: Deployment) -> dict[str, str]:
    """Return what ``mirt doctor`` finds wrong, by subject."""
    found = deployed.json("doctor", exit_code=None)["findings"]
    return {one["about"]: one["found"] for one in found if one["verdict"] == "error"}


def checked(deployed: Deployment) -> str:
    """Return what ``mirt worker --check`` says."""
    return deployed.mirt("worker", "--check").stdout


def problems(deployed: Deployment) -> str:
    """Return the problems of the page."""
    found = deployed.json("inspect", exit_code=None)
    return "; ".join(one["what"] for one in found["problems"])


def test_a_deleted_queue_comes_back_with_its_consumer_and_its_messages(
    working: Deployment, hands: Hands
) -> None:
    working.services.latency["llm"] = 2
    working.post(update(2, 1, "під час"))
    wait_until(lambda: len(working.services.requests("llm")) == 2)
    hands.delete("llm")
    answers(working, 3)
    wait_until(lambda: len(working.services.sent(2)) == 1)
    wait_until(lambda: hands.queue("llm").get("consumers") == 1)
    assert "consumers" not in errors(working)
    assert working.mirt("worker", "--check").returncode == 0
    assert len(working.services.sent(3)) == 1


def test_a_queue_with_other_arguments_serves_and_is_reported(
    working: Deployment, hands: Hands
) -> None:
    hands.delete("webhooks")
    hands.delete("llm")
    hands.create("llm", **{"x-max-length": 100})
    answers(working, 2)
    assert errors(working)["queues"].startswith("llm: declared with other arguments")
    hands.delete("llm")
    answers(working, 3)
    wait_until(lambda: "queues" not in errors(working), within_s=SOON_S)
    assert hands.queue("llm")["arguments"]["x-queue-type"] == "quorum"


def test_permissions_that_are_taken_away_are_reported_until_they_are_back(
    working: Deployment, hands: Hands, rabbitmq: RabbitMQ
) -> None:
    rabbitmq.management.forbid(hands.vhost)
    hands.close_connections()
    assert working.post(update(2, 1, "Є сукня?")).status_code == 200
    wait_until(lambda: "ACCESS_REFUSED" in problems(working), within_s=SOON_S)
    wait_until(lambda: working.mirt("worker", "--check").returncode, within_s=SOON_S)
    # A queue is named once its own problem has lasted.
    wait_until(lambda: re.search("llm: .*ACCESS_REFUSED", checked(working)), within_s=SOON_S)
    assert "ACCESS_REFUSED" in errors(working)["rabbitmq"]
    ready = working.get("/readyz").json()
    assert ready["status"] == "degraded"
    assert ready["checks"]["rabbitmq"].startswith("failed")
    rabbitmq.management.create_vhost(hands.vhost)
    wait_until(lambda: working.services.sent(2), within_s=SOON_S)
    wait_until(lambda: not working.mirt("worker", "--check").returncode, within_s=SOON_S)
    wait_until(lambda: "ACCESS_REFUSED" not in problems(working), within_s=SOON_S)
    wait_until(lambda: working.get("/readyz").json()["status"] == "ready", within_s=SOON_S)


def test_a_virtual_host_that_is_deleted_is_one_problem_until_it_is_back(
    working: Deployment, hands: Hands, rabbitmq: RabbitMQ
) -> None:
    hands.delete_all()
    assert working.post(update(2, 1, "Є сукня?")).status_code == 200
    wait_until(lambda: "not found" in problems(working), within_s=SOON_S)
    assert problems(working).count("not found") == 1
    rabbitmq.management.create_vhost(hands.vhost)
    answers(working, 3)
    wait_until(lambda: len(working.services.sent(2)) == 1, within_s=SOON_S)


def test_a_queue_that_is_purged_under_load_loses_and_doubles_nothing(
    working: Deployment, hands: Hands
) -> None:
    working.services.latency["llm"] = 1
    chats = range(2, 22)
    working.post_all([update(chat, 1, "Є сукня?") for chat in chats])
    hands.purge("llm")
    wait_until(lambda: all(working.services.sent(chat) for chat in chats))
    assert {len(working.services.sent(chat)) for chat in chats} == {1}


def test_a_delivery_limit_loses_no_message_while_the_database_is_away(
    working: Deployment, hands: Hands, postgres: Postgres
) -> None:
    hands.limit("llm", **{"delivery-limit": 2})
    postgres.stop()
    working.python(
        "from actors.messages import process_and_respond as answer\n"
        "answer.send('telegram:9', 'Є сукня?', 'telegram', '9')"
    )
    wait_until(lambda: hands.queue("llm").get("messages_unacknowledged") == 1)
    still_held = hands.queue("llm")
    postgres.start()
    wait_until(lambda: working.services.sent(9), within_s=SOON_S)
    assert still_held["messages"] == 1
    assert hands.queue("llm.dead").get("messages", 0) == 0
    assert working.dead_letters() == []


def test_a_message_that_rabbitmq_drops_is_a_dead_letter_unless_a_row_keeps_its_task(
    working: Deployment, hands: Hands
) -> None:
    working.stop()
    hands.limit("llm", **{"message-ttl": 1})
    working.python(
        "from actors.messages import process_and_respond as answer\n"
        "arguments = ('telegram:9', 'Є сукня?', 'telegram', '9')\n"
        "answer.send(*arguments)\n"
        "answer.send_with_options(args=('telegram:8', *arguments[1:3], '8'), task_id='kept')"
    )
    wait_until(lambda: hands.queue("llm.dead").get("messages") == 2)
    hands.limit("nothing", **{"message-ttl": 1})
    working.start("worker")
    wait_until(lambda: working.dead_letters() == [("process_and_respond", "DROPPED")])
    wait_until(lambda: working.services.sent(8), within_s=SOON_S)
    assert not working.services.sent(9)
    assert "expired" in working.mirt("dead", "list").stdout
    working.mirt("dead", "replay", "--code", "DROPPED", "--yes")
    wait_until(lambda: len(working.services.sent(9)) == 1, within_s=SOON_S)
    wait_until(lambda: hands.queue("llm.dead").get("messages", 0) == 0)
