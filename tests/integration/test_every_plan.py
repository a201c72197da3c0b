"""No query of the work or of the page reads a whole table that grows.

PostgreSQL itself reports the plan of each statement (``auto_explain``), so a new query is covered
without a list.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from falcon.testing import TestClient
from pydantic import SecretStr
from sqlalchemy import event
from sqlalchemy.pool import Pool

from broker.durable import DurableBroker
from broker.stack import install
from broker.task import registry
from middleware.policy import TASKS
from mirt.runtime import Runtime, open_runtime, use_runtime
from mirt.store.tables import metadata
from mirt.task_names import TaskName
from service import dispatcher
from service.admin_ui.auth.roles import Role
from service.app import create_app
from tests.deployment import SECRET, update
from tests.fakes import FakeServices
from tests.seed_month import seed_month
from tests.settings import settings_for
from tests.unit.service.admin_ui.conftest import cookie
from tests.unit.service.conftest import Ingress


@dataclass(frozen=True)
class Past:
    """A past of so many conversations; conversation n is silent for n times 25 seconds.

    A few are silent for longer than ``days``: they are due for a summary and a follow-up.
    """

    conversations: int
    days: int


MONTH = Past(20_800, days=6)
YEAR = Past(798_400, days=231)
"""Two and a half million tasks and as many replies: about five minutes of two cores."""
FEW = frozenset(
    (
        *("workers", "ticks", "holds", "pauses", "webhooks", "health_checks", "schema_versions"),
        *("dead_letters", "ended_sessions"),
    )
)
"""Tables with a row for each worker, task, service, version, failure or session of an operator."""
MORE_ROWS = (
    # ManyChat's window lets reminders come sooner: most conversations there have had theirs.
    """
    UPDATE conversations SET followups_taken = 1
    WHERE platform = 'manychat' AND session_id::bigint % 100 <> 0
    """,
    """
    INSERT INTO history (session_id, role, content, turn_id, created_at)
    SELECT session_id, CASE k WHEN 0 THEN 'user' ELSE 'assistant' END, text, task_id, received_at
    FROM inbox, generate_series(0, 1) k
    """,
    """
    INSERT INTO followups (task_id, session_id, since, number, taken_at)
    SELECT 'followup' || session_id, session_id, now(), 1, last_customer_at FROM conversations
    """,
    """
    INSERT INTO task_events (task_id, kind, attempt, at)
    SELECT id, 'retried', 0, created_at FROM tasks
    """,
    """
    INSERT INTO handover_events (session_id, act, at)
    SELECT session_id, 'ask', created_at FROM tasks LIMIT 20000
    """,
    """
    INSERT INTO audit (at, operator, door, act, session_id, outcome)
    SELECT created_at, 'olena', 'page', 'trace', session_id, 'done' FROM tasks LIMIT 20000
    """,
)
PAGES = (
    *("/ops", "/ops/conversations", "/ops/dead", "/ops/queues", "/ops/schedule", "/ops/audit"),
    *("/ops/orders", "/ops/today"),
    *(f"/ops/conversations?kind={kind}" for kind in ("waiting", "failed", "unknown")),
    "/ops/dead?queue=llm&since=1h",
    "/ops/dead/letter?id=send_response:7",
    *(f"/ops/trace?id={name}" for name in ("700000444", "telegram:process:444")),
    *("/readyz", "/metrics"),
)


@pytest.fixture(
    params=[
        pytest.param(MONTH, id="after a month"),
        pytest.param(YEAR, id="after a year", marks=pytest.mark.slow),
    ]
)
def past(request: pytest.FixtureRequest) -> Past:
    found: Past = request.param
    return found


@pytest.fixture
def plans(database_url: str, past: Past) -> Iterator[list[str]]:
    """Yield a list that grows by the plan of each statement of this process."""
    seed_month(database_url, conversations=past.conversations, dead_letters=50)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in MORE_ROWS:
            connection.execute(statement)
        connection.execute("VACUUM ANALYZE")
        name = connection.info.dbname
        for setting in (
            "session_preload_libraries = auto_explain",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_level = notice",
        ):
            connection.execute(f'ALTER DATABASE "{name}" SET {setting}')
    found: list[str] = []

    def listen(connection: Any, _record: object) -> None:
        if isinstance(connection, psycopg.Connection):
            connection.add_notice_handler(lambda notice: found.append(notice.message_primary or ""))

    event.listen(Pool, "connect", listen)
    yield found
    event.remove(Pool, "connect", listen)


@pytest.fixture
def runtime(
    database_url: str, plans: list[str], services: FakeServices, past: Past
) -> Iterator[Runtime]:
    settings = settings_for(
        services,
        database_url=database_url,
        TASKS_EAGER=True,
        OPS_TOKEN="operator-token-of-the-tests",
        SUMMARY_RETENTION_DAYS=past.days,
        FOLLOWUP_DELAYS_HOURS=str(24 * past.days),
        manychat_verify_token=SecretStr("flow-token"),
    )
    opened = open_runtime(settings)
    use_runtime(opened)
    yield opened
    opened.close()
    registry.release()


def work(broker: DurableBroker, client: TestClient) -> None:
    """Do one of everything: messages, an edit, a block, every task of the schedule, the outbox."""
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    first = update(700000444, 900001, "Є сукня?")
    edited = {"edited_message": {**first["message"], "edit_date": 1_790_000_999}, "update_id": 9}
    for payload in (first, first, edited, update(5, 1, "/start sku_1"), update(5, 2, "/stop")):
        client.simulate_post("/webhooks/telegram", json=payload, headers=headers)
    flow = {"subscriber": {"id": "77"}, "message": {"text": "Привіт"}}
    headers = {"X-ManyChat-Token": "flow-token"}
    for _ in range(2):
        client.simulate_post("/webhooks/manychat", json=flow, headers=headers)
    dispatcher.dispatch_summarization("700000444")
    dispatcher.dispatch_followup("700000444", "telegram", "700000444")
    for name, policy in TASKS.items():
        # Old rows go in batches by their ids; test_plans.py looks at these.
        if policy.schedule and name != TaskName.REMOVE_OLD_ROWS:
            broker.actors[name].send()
    broker.publish_due()


def whole_tables(plans: list[str]) -> set[str]:
    """Return table and statement of each plan that reads a whole table that grows."""
    grows = sorted(metadata.tables.keys() - FEW)
    scan = re.compile(rf"Seq Scan on ({'|'.join(grows)})\b")
    return {
        f"{found[1]}: {plan.partition('Query Text:')[2].strip()}"
        for plan in plans
        if (found := scan.search(plan))
    }


@pytest.mark.timeout(1200)
def test_no_query_of_the_work_or_of_the_page_reads_a_whole_table(
    runtime: Runtime, plans: list[str]
) -> None:
    broker = install(runtime.settings)
    client = TestClient(create_app(runtime))
    with closing(broker):
        work(broker, client)
    cookies = {"mirt_ops": cookie(Ingress(client, runtime), Role.OPERATOR)}
    for address in PAGES:
        path, _, query = address.partition("?")
        answer = client.simulate_get(path, query_string=query, cookies=cookies)
        assert answer.status_code == 200, address
    asked = {plan.partition("Query Text:")[2].split("\n")[0] for plan in plans}
    assert len(asked) > 60, "PostgreSQL reports its plans"
    found = sorted(whole_tables(plans))
    assert found == [], "\n\n".join(found)
