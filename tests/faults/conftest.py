"""A deployment on real servers for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import Deployment, deployment
from tests.fakes import FakeServices


@pytest.fixture
def deployed(
    services: FakeServices, tmp_path: Path, rabbitmq_url: str, redis_url: str, database_url: str
) -> Iterator[Deployment]:
    """Servers and settings; the test starts the processes it wants."""
    servers = {"RABBITMQ_URL": rabbitmq_url, "REDIS_URL": redis_url, "DATABASE_URL": database_url}
    with deployment(services, tmp_path, servers) as here:
        yield here
