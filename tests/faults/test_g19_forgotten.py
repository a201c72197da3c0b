"""G19: a forgotten customer is nowhere, and nothing that runs or dies writes them back."""

import json
from collections.abc import Iterator

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker
from redis import Redis

from mirt.store.engine.database import Database
from tests.deployment import Deployment, kill_tree, update
from tests.everywhere import in_database, in_redis
from tests.fakes import Hang, Status
from tests.polling import wait_until
from tests.servers.ports import free_port

NAME, WORDS, PHONE = "Оленаприватна", "таємницямоя", "0501239876"
MARKERS = (NAME, WORDS, PHONE, "+38" + PHONE)


def says(number: int, chat: int = 7, name: str = NAME, words: str = WORDS) -> dict[str, object]:
    person = {"id": chat, "is_bot": False, "first_name": name, "username": name}
    return update(chat, number, f"{words} {PHONE if chat == 7 else ''}", **{"from": person})


@pytest.fixture
def database(deployed: Deployment) -> Iterator[Database]:
    database = Database(deployed.environment["DATABASE_URL"], pool_size=1)
    yield database
    database.close()


def places(deployed: Deployment, database: Database) -> list[str]:
    """Return every place where the customer still is."""
    redis = Redis.from_url(deployed.environment["REDIS_URL"])
    return [*in_database(database, MARKERS), *in_redis(redis, MARKERS)]


def forget(deployed: Deployment, session: str = "7") -> None:
    done = deployed.mirt("forget", session, "--yes")
    assert done.returncode == 0, done.stderr


def test_a_customer_is_forgotten_everywhere_and_others_are_not(
    deployed: Deployment, database: Database
) -> None:
    services = deployed.services
    deployed.web()
    deployed.start("worker")
    deployed.post(says(1))
    deployed.post(says(1, chat=8, name="Інша", words="інше"))
    wait_until(lambda: services.sent(7) and services.sent(8))
    refusal = Status(400, {"ok": False, "description": f"Bad Request: {WORDS}"})
    services.misbehave("telegram", refusal, chat=7, times=None)
    deployed.post(says(2))
    wait_until(deployed.dead_letters)
    deployed.python("from service.dispatcher import dispatch_summarization as sum; sum('7')")
    wait_until(lambda: deployed.rows("SELECT 1 FROM conversations WHERE summary IS NOT NULL"))
    assert places(deployed, database), "the search finds what is there"
    counted = deployed.json("forget", "7", "--dry-run")
    assert counted["found"]["conversations"] == 1
    exported = json.loads(deployed.mirt("export", "7").stdout)
    assert WORDS in json.dumps(exported, ensure_ascii=False)
    assert "інше" not in json.dumps(exported, ensure_ascii=False)

    forget(deployed)
    assert places(deployed, database) == []
    assert in_database(database, ["інше"]), "another customer is untouched"
    assert deployed.mirt("forget", "7", "--yes").returncode == 1, "nothing is left to forget"
    assert deployed.mirt("export", "7").returncode == 1
    [act] = deployed.rows("SELECT act, target, session_id FROM audit WHERE act = 'forget'")
    assert tuple(act) == ("forget", "a forgotten customer", None)

    deployed.post(says(1))
    assert places(deployed, database) == [], "a webhook that comes once more is known still"


def test_a_turn_that_runs_does_not_write_the_customer_back(
    deployed: Deployment, database: Database
) -> None:
    deployed.services.misbehave("llm", Hang())
    deployed.web()
    deployed.start("worker")
    deployed.post(says(1))
    wait_until(lambda: deployed.services.requests("llm"))
    forget(deployed)
    assert places(deployed, database) == []
    deployed.services.release()
    wait_until(lambda: "message_dropped" in deployed.log_text())
    assert places(deployed, database) == []
    assert deployed.services.sent(7) == []
    deployed.post(says(1, chat=8, name="Інша", words="інше"))
    wait_until(lambda: deployed.services.sent(8))


def test_a_reply_under_way_leaves_nothing_behind(deployed: Deployment, database: Database) -> None:
    deployed.services.misbehave("telegram", Hang(), path="sendMessage")
    deployed.web()
    deployed.start("worker")
    deployed.post(says(1))
    wait_until(lambda: deployed.services.requests("telegram", "sendMessage"))
    forget(deployed)
    deployed.services.release()
    wait_until(lambda: "message_dropped" in deployed.log_text())
    assert places(deployed, database) == []


def test_a_worker_that_is_killed_in_its_turn_is_followed_by_none_that_repeats_it(
    deployed: Deployment, database: Database
) -> None:
    deployed.services.misbehave("llm", Hang())
    deployed.web()
    worker = deployed.start("worker", "llm")
    deployed.post(says(1))
    wait_until(lambda: deployed.services.requests("llm"))
    kill_tree(worker.pid)
    forget(deployed)
    deployed.services.release()
    deployed.start("worker", "llm")
    deployed.post(says(1, chat=8, name="Інша", words="інше"))
    wait_until(lambda: deployed.services.sent(8))
    asked = [json.dumps(r.body, ensure_ascii=False) for r in deployed.services.requests("llm")]
    assert len([body for body in asked if WORDS in body]) == 1
    assert places(deployed, database) == []


def test_a_message_that_waits_in_rabbitmq_answers_nobody(
    deployed: Deployment, database: Database
) -> None:
    deployed.web()
    deployed.post(says(1))
    wait_until(lambda: depth(deployed, "llm") == 1)
    forget(deployed)
    deployed.start("worker", "llm")
    wait_until(lambda: depth(deployed, "llm") == 0)
    deployed.post(says(1, chat=8, name="Інша", words="інше"))
    wait_until(lambda: deployed.services.sent(8))
    assert deployed.services.sent(7) == []
    assert places(deployed, database) == []


def test_rejects_that_name_the_customer_are_deleted_and_others_stay(deployed: Deployment) -> None:
    deployed.web()
    deployed.post(says(1))
    # The publisher declares the queues; the webhook does not wait for it.
    wait_until(lambda: "rabbitmq_connected" in deployed.log_text())
    with rabbitmq(deployed) as connection:
        channel = connection.channel()
        for reject in ({"kwargs": {"session_id": "7", "text": WORDS}}, {"kwargs": {"n": "8"}}):
            channel.basic_publish("", "llm.dead", json.dumps(reject).encode())
    wait_until(lambda: depth(deployed, "llm.dead") == 2)
    done = deployed.json("forget", "7", "--yes")
    assert done["rejects"] == 1
    with rabbitmq(deployed) as connection:
        _, _, body = connection.channel().basic_get("llm.dead")
    assert body is not None
    assert json.loads(body) == {"kwargs": {"n": "8"}}


def test_rejects_are_deleted_later_if_rabbitmq_was_away(deployed: Deployment) -> None:
    deployed.web()
    deployed.post(says(1))
    wait_until(lambda: "rabbitmq_connected" in deployed.log_text())
    with rabbitmq(deployed) as connection:
        reject = {"kwargs": {"session_id": "7", "text": WORDS}}
        connection.channel().basic_publish("", "llm.dead", json.dumps(reject).encode())
    wait_until(lambda: depth(deployed, "llm.dead") == 1)
    nowhere = f"amqp://127.0.0.1:{free_port()}/"
    done = deployed.mirt("forget", "7", "--yes", RABBITMQ_URL=nowhere)
    assert done.returncode == 0, done.stderr
    assert "not reached: rejects in RabbitMQ" in done.stdout
    assert deployed.json("forget", "7", "--yes")["rejects"] == 1
    assert deployed.mirt("forget", "7", "--yes").returncode == 1


def rabbitmq(deployed: Deployment) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(deployed.environment["RABBITMQ_URL"]))


def depth(deployed: Deployment, queue: str) -> int:
    """Return the ready messages of a queue; 0 if it was not declared yet."""
    with rabbitmq(deployed) as connection:
        try:
            found = connection.channel().queue_declare(queue, passive=True)
        except ChannelClosedByBroker:
            return 0
    return int(found.method.message_count)
