"""Each command of operators takes a fixed number of queries, however much there is to see."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from mirt.clock import utc_now
from mirt.settings import Settings
from mirt.store.engine.database import Database
from mirt.store.queue.dead_letters import DeadLetterFilter
from mirt.store.reports.search import Kind, conversations_found
from mirt.timeline import Timelines
from service.admin import dead_letters, purge
from service.admin.conversations import waiting
from service.admin.findings import findings
from service.admin.queues import activity
from service.admin.schedule import schedule
from service.cli.context import CommandContext
from tests.seed_month import seed_month
from tests.servers import Postgres
from tests.statements import counting_statements


@pytest.fixture(scope="module")
def look(postgres: Postgres) -> Iterator[CommandContext]:
    """Open a database with a busy month once for all tests, as a command opens it."""
    with postgres.isolated() as url:
        seed_month(url, conversations=5_000, dead_letters=500)
        settings = Settings(_env_file=None, database_url=SecretStr(url))
        database = Database(url, pool_size=1, reads_only=True)
        yield CommandContext(settings, database)
        database.close()


def show_problems(look: CommandContext) -> object:
    now = activity(look)
    return findings(look, now, schedule(look)), waiting(look, limit=8)


def trace(name: str) -> Callable[[CommandContext], object]:
    return lambda look: Timelines(look.database, look.clock).of(name)


COMMANDS: dict[str, tuple[Callable[[CommandContext], object], int]] = {
    "inspect": (show_problems, 20),
    "inspect stats": (activity, 5),
    "dead list": (
        lambda look: dead_letters.find(look, DeadLetterFilter(until=utc_now()), limit=20),
        2,
    ),
    "dead list --code": (
        lambda look: dead_letters.find(
            look, DeadLetterFilter(error_code="CHANNEL_REFUSED"), limit=20
        ),
        2,
    ),
    "purge": (lambda look: purge.preview(look, "llm"), 1),
    "trace CONVERSATION": (trace("700000444"), 12),
    "trace TRACE": (trace(hashlib.md5(b"trace4440").hexdigest()), 12),
    "trace MESSAGE": (trace("telegram:process:444"), 12),
    "search": (
        lambda look: _found(look, text="Оля"),
        1,
    ),
    "search of those who wait": (lambda look: _found(look, kind=Kind.WAITING), 1),
}


def _found(look: CommandContext, **what: Any) -> object:
    with look.database.transaction() as tx:
        return conversations_found(tx, **what, limit=50)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_asks_a_busy_month_no_more_queries_than_ever(
    look: CommandContext, name: str
) -> None:
    ask, most = COMMANDS[name]
    activity(look)  # an engine sends more in its first transaction
    with counting_statements(look.database.engine) as statements:
        assert ask(look) is not None
    assert len(statements) <= most, statements
