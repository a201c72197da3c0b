"""One deployment for all tests of this package, and customers who write to it."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.deployment import Deployment, deployment
from tests.fakes import FakeServices
from tests.faults.customers import Customers
from tests.servers import Postgres, RabbitMQ, Redis
from tests.servers.balancer import Balancer

CHATS = 8
_first = count(1, CHATS)


@pytest.fixture(scope="package")
def vhost_url(rabbitmq: RabbitMQ) -> Iterator[str]:
    with rabbitmq.isolated() as url:
        yield url


@pytest.fixture(scope="package")
def to_rabbitmq(rabbitmq: RabbitMQ) -> Iterator[Balancer]:
    """Put a balancer before RabbitMQ that every connection goes through."""
    with Balancer.before(rabbitmq.url) as between:
        yield between


@pytest.fixture(scope="package")
def to_postgres(postgres: Postgres) -> Iterator[Balancer]:
    """Put a balancer before PostgreSQL that every connection goes through."""
    with Balancer.before(postgres.url) as between:
        yield between


@pytest.fixture(scope="package")
def deployed(
    tmp_path_factory: pytest.TempPathFactory,
    vhost_url: str,
    redis_server: Redis,
    postgres: Postgres,
    to_rabbitmq: Balancer,
    to_postgres: Balancer,
) -> Iterator[Deployment]:
    """An ingress, and a worker with turns that take a while: some run when a server falls ill."""
    logs = tmp_path_factory.mktemp("deployment")
    with (
        FakeServices() as services,
        redis_server.isolated() as redis_url,
        postgres.isolated() as database_url,
    ):
        services.latency["llm"] = 0.2
        servers = {
            "RABBITMQ_URL": to_rabbitmq.url(vhost_url),
            "REDIS_URL": redis_url,
            "DATABASE_URL": to_postgres.url(database_url),
        }
        with deployment(services, logs, servers) as here:
            here.start("worker", "llm")
            here.web()
            yield here


@pytest.fixture
def customers(deployed: Deployment) -> Customers:
    """Return customers that the service has not met before."""
    first = next(_first)
    return Customers(deployed, range(first, first + CHATS))
