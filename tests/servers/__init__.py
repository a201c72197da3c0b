"""Real servers for the tests: RabbitMQ, Redis and PostgreSQL, and the faults they can suffer.

One file for each server, and one for each way to run it (``process``, ``docker``; ``Foreign`` in
``server``). Nothing here knows of pytest (that is ``tests/conftest.py``) or of the service, except
for the migrations that fill the template of the test databases.
"""

from tests.servers.errors import FaultNotPossible, ServerFailed, ServerUnavailable
from tests.servers.fleet import Servers, start_servers
from tests.servers.postgres import Postgres
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.server import Server

__all__ = [
    "FaultNotPossible",
    "Postgres",
    "RabbitMQ",
    "Redis",
    "Server",
    "ServerFailed",
    "ServerUnavailable",
    "Servers",
    "start_servers",
]
