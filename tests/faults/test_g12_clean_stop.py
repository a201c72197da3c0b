"""G12: stopping loses and repeats nothing; a lost connection comes back by itself, and is seen."""

from tests.deployment import Deployment, update
from tests.servers import RabbitMQ
from tests.waiting import wait_until


def is_able(deployed: Deployment) -> bool:
    """What the container's health check says."""
    return deployed.run("worker", "--check") == 0


def test_a_worker_without_its_broker_fails_its_health_check_until_it_is_back(
    deployed: Deployment, rabbitmq: RabbitMQ
) -> None:
    assert not is_able(deployed)
    deployed.start("worker", "llm")
    deployed.web()
    wait_until(lambda: is_able(deployed))
    rabbitmq.kill()
    wait_until(lambda: not is_able(deployed), within_s=30)
    rabbitmq.start()
    wait_until(lambda: is_able(deployed), within_s=30)
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: deployed.world.sent(7))


def test_what_runs_is_finished_and_what_waits_goes_to_another(deployed: Deployment) -> None:
    deployed.world.latency["llm"] = 2
    stopping = deployed.start("worker", "llm", "--threads", "2")
    deployed.web()
    for chat in (1, 2, 3, 4):
        deployed.post(update(chat, 1, "Привіт"))
    wait_until(lambda: len(deployed.world.requests("llm")) == 2)
    deployed.start("worker", "llm", "--threads", "4")
    wait_until(lambda: deployed.log_text().count("worker_started") == 2)
    stopping.terminate()
    wait_until(lambda: all(deployed.world.sent(chat) for chat in (1, 2, 3, 4)))
    assert stopping.wait(10) == 0
    assert len(deployed.world.requests("llm")) == 4
