"""Three RabbitMQ nodes behind one address, and one of them dies, or is cut off."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import Deployment, deployment
from tests.fakes import FakeServices
from tests.faults.customers import Customers
from tests.polling import wait_until
from tests.servers import ServerUnavailable
from tests.servers.cluster import FOUNDER, Cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    try:
        cluster = Cluster()
    except ServerUnavailable as unavailable:
        pytest.skip(str(unavailable))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def deployed(
    services: FakeServices, tmp_path: Path, cluster: Cluster, redis_url: str, database_url: str
) -> Iterator[Deployment]:
    """On the cluster instead of the one node of the other tests."""
    servers = {"RABBITMQ_URL": cluster.url, "REDIS_URL": redis_url, "DATABASE_URL": database_url}
    with deployment(services, tmp_path, servers) as here:
        yield here


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_death_of_the_leading_node_loses_and_doubles_nothing(
    deployed: Deployment, cluster: Cluster
) -> None:
    deployed.services.latency["llm"] = 0.2
    deployed.start("worker", "llm")
    deployed.web()
    with Customers(deployed, range(1, 9)) as customers:
        assert cluster.leaders("llm") == {FOUNDER}
        cluster.kill(FOUNDER)
        customers.go_on()
        wait_until(lambda: cluster.leaders("llm") - {FOUNDER}, within_s=30)
        customers.go_on()
    customers.assert_served_as_usual()
    wait_until(customers.answered, within_s=40)
    customers.assert_once_and_in_order()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_leading_node_that_is_cut_off_from_the_others_loses_and_doubles_nothing(
    deployed: Deployment, cluster: Cluster
) -> None:
    deployed.services.latency["llm"] = 0.2
    deployed.start("worker", "llm")
    deployed.web()
    with Customers(deployed, range(1, 9)) as customers:
        assert cluster.leaders("llm") == {FOUNDER}
        with cluster.cut_off(FOUNDER):
            customers.go_on()
            wait_until(lambda: cluster.leaders("llm") - {FOUNDER}, within_s=30)
            customers.go_on()
            seen = len(deployed.services.replies())
            wait_until(lambda: len(deployed.services.replies()) > seen + 40, within_s=60)
        customers.go_on()
    customers.assert_served_as_usual()
    wait_until(customers.answered, within_s=60)
    customers.assert_once_and_in_order()
