"""G2: the same webhook delivered k times is one turn and one reply."""

from redis import Redis as RedisClient

from tests.deployment import Deployment, update
from tests.polling import wait_until
from tests.servers import Redis


def turns(deployed: Deployment) -> int:
    return int(deployed.rows("SELECT count(*) FROM turns")[0][0])


def settled(deployed: Deployment) -> bool:
    """Nothing is left to be done."""
    left = "SELECT 1 FROM tasks WHERE state NOT IN ('done', 'dead')"
    return not deployed.rows(left) and turns(deployed) > 0


def test_fifty_copies_at_the_same_moment_get_one_reply(deployed: Deployment) -> None:
    deployed.start("worker", "llm")
    deployed.web()
    answers = deployed.post_all([update(7, 1, "Привіт")] * 50, at_once=50)
    assert {answer.status_code for answer in answers} == {200}
    wait_until(lambda: settled(deployed))
    assert len(deployed.services.sent(7)) == 1
    assert turns(deployed) == 1


def test_a_copy_after_redis_was_emptied_gets_no_second_reply(
    deployed: Deployment, redis_url: str
) -> None:
    deployed.start("worker", "llm")
    deployed.web()
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: settled(deployed))
    with RedisClient.from_url(redis_url) as redis:
        redis.flushall()
    assert deployed.post(update(7, 1, "Привіт")).json()["duplicate"] is True
    deployed.post(update(8, 1, "the end"))
    wait_until(lambda: deployed.services.sent(8))
    assert len(deployed.services.sent(7)) == 1


def test_copies_while_redis_is_away_get_one_reply(
    deployed: Deployment, redis_server: Redis
) -> None:
    deployed.start("worker", "llm")
    deployed.web()
    redis_server.kill()
    answers = deployed.post_all([update(7, 1, "Привіт")] * 20, at_once=10)
    assert {answer.status_code for answer in answers} == {200}
    wait_until(lambda: settled(deployed), within_s=30)
    assert len(deployed.services.sent(7)) == 1


def test_the_same_message_id_in_two_chats_is_two_messages(deployed: Deployment) -> None:
    deployed.start("worker", "llm")
    deployed.web()
    sender = {"from": {"id": 5, "is_bot": False, "first_name": "Оля"}}
    for chat in (70, 80):
        deployed.post(update(chat, 1, "Привіт", **sender))
    wait_until(lambda: deployed.services.sent(70) and deployed.services.sent(80))
