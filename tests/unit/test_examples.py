"""The examples in docstrings run, so that they stay true."""

import doctest
from types import ModuleType
from typing import Any

from pydantic import SecretStr

from mirt.channels import protocol
from mirt.channels.telegram import TelegramChannel
from mirt.http import service
from mirt.store.engine import retrying
from mirt.store.engine.database import Database
from mirt.store.queue import leases, outbox
from mirt.store.queue.tasks import TaskMessage
from tests.clock import NOON
from tests.deployment import update
from tests.fakes import FakeServices
from tests.unit.store.rows import claimed


def run(module: ModuleType, **names: Any) -> int:
    """Run the examples of a module with these names; return how many lines there are."""
    results = doctest.testmod(module, extraglobs=names, raise_on_error=True)
    return results.attempted


def test_the_example_of_an_external_service_runs(services: FakeServices) -> None:
    assert run(service, url=services.url) == 4


def test_the_example_of_a_channel_runs(services: FakeServices) -> None:
    channel = TelegramChannel(token=SecretStr("1:token"), secret=None, api_url=services.url)
    assert run(protocol, channel=channel, payload=update(7, 1, "hello")) == 2
    channel.close()
    assert services.sent(7) == ["You wrote: hello"]


def test_the_example_of_a_commit_with_retry_runs(database: Database) -> None:
    task = TaskMessage("t2", "ping", kwargs={}, options={})
    names = {"database": database, "lease": claimed(database), "task": task, "now": NOON}
    assert run(retrying, leases=leases, outbox=outbox, **names) == 2
