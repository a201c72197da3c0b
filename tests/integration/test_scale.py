"""With 100,000 conversations and 5,000 dead letters every look is far under 300 ms."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import event

from mirt.clock import utc_now
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
from tests.fakes import FakeServices
from tests.settings import settings_for

SEED = """
INSERT INTO conversations (session_id, platform, chat_id, customer_name, head_task_id,
                           last_customer_at, created_at)
SELECT 's' || n, 'telegram', n, 'Оля ' || n, CASE WHEN n % 50 = 0 THEN 't' || n END,
       now() - n * interval '1 second', now() - interval '9 days'
FROM generate_series(1, 100000) n;
INSERT INTO tasks (id, actor, args, kwargs, options, trace_id, session_id, state, due_at, fence,
                   created_at, started_at, first_started_at, finished_at)
SELECT 't' || n, 'process_and_respond', '[]', '{}', '{}', 'trace' || n, 's' || n,
       CASE WHEN n % 50 > 0 THEN 'done' WHEN n % 3 = 0 THEN 'running' ELSE 'queued' END,
       CASE WHEN n % 50 = 0 THEN now() + interval '1 hour' END, 1,
       now() - n * interval '1 second', now(), now(), now() - n * interval '1 second'
FROM generate_series(1, 100000) n;
INSERT INTO inbox (task_id, session_id, actor, text, platform, metadata, trace_id, state,
                   message_id, received_at, finished_at)
SELECT 't' || n, 's' || n, 'process_and_respond', 'text', 'telegram', '{}', 'trace' || n,
       CASE WHEN n % 50 = 0 THEN 'waiting' ELSE 'answered' END, n % 1000,
       now() - n * interval '1 second', CASE WHEN n % 50 > 0 THEN now() END
FROM generate_series(1, 100000) n;
INSERT INTO deliveries (id, session_id, platform, chat_id, text, state, trace_id, created_at,
                        finished_at)
SELECT 't' || n, 's' || n, 'telegram', n, 'text', 'sent', 'trace' || n, now(), now()
FROM generate_series(1, 100000) n WHERE n % 50 > 0;
INSERT INTO dead_letters (task_id, queue, actor, args, kwargs, options, error_code, exception,
                          traceback, attempts, trace_id, session_id, sent_at, died_at)
SELECT 'd' || n, 'webhooks', 'send_response', '[]', '{}', '{}',
       CASE WHEN n % 2 = 0 THEN 'CHANNEL_REFUSED' ELSE 'RETRIES_EXHAUSTED' END, 'why',
       repeat('line ', 800), 3, 'trace' || n, 's' || n, now(), now() - n * interval '1 second'
FROM generate_series(1, 5000) n;
INSERT INTO task_events (task_id, kind, attempt, code, why, at)
SELECT 't' || n, 'retried', 0, 'ExternalServiceError', 'why', now()
FROM generate_series(1, 20000) n;
ANALYZE;
"""


@pytest.fixture
def look(services: FakeServices, database_url: str) -> Iterator[CommandContext]:
    with psycopg.connect(database_url) as connection:
        connection.execute(SEED)
    settings = settings_for(services, database_url=database_url)
    database = Database(database_url, pool_size=1, reads_only=True)
    yield CommandContext(settings, database)
    database.close()


def show_problems(look: CommandContext) -> object:
    now = activity(look)
    return findings(look, now, schedule(look)), waiting(look, limit=8)


def trace(name: str) -> Callable[[CommandContext], object]:
    return lambda look: Timelines(look.database, look.clock).of(name)


LOOKS: dict[str, tuple[Callable[[CommandContext], object], int]] = {
    "inspect": (show_problems, 14),
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
    "trace CONVERSATION": (trace("s5000"), 12),
    "trace TRACE": (trace("trace4950"), 12),
    "trace MESSAGE": (trace("77"), 12),
    "search": (
        lambda look: _found(look, text="Оля 99"),
        1,
    ),
    "search of those who wait": (lambda look: _found(look, kind=Kind.WAITING), 1),
}


def _found(look: CommandContext, **what: Any) -> object:
    with look.database.transaction() as tx:
        return conversations_found(tx, **what, limit=50)


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("SET", "BEGIN")):
            statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield statements
    event.remove(database.engine, "before_cursor_execute", note)


@pytest.mark.alone
def test_every_look_is_far_under_300_ms_with_a_constant_number_of_queries(
    look: CommandContext,
) -> None:
    activity(look)
    took = {}
    for name, (ask, most) in LOOKS.items():
        with counted(look.database) as statements:
            assert ask(look) is not None
        assert len(statements) <= most, (name, len(statements), statements)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            ask(look)
            times.append((time.perf_counter() - began) * 1000)
        took[name] = (round(statistics.median(times), 1), len(statements))
    print(took)
    assert {name: one for name, one in took.items() if one[0] > 300} == {}
