"""``mirt doctor`` says what is wrong and what to do, whatever is down, and soon."""

import time
from typing import Any

import pika
import psycopg
import pytest

from tests.deployment import Deployment
from tests.polling import wait_until
from tests.servers import Postgres, RabbitMQ, Redis
from tests.system.conftest import Embedded


def findings(deployed: Deployment) -> dict[str, dict[str, Any]]:
    """By what they are about; of several the worst."""
    order = ("disabled", "ok", "warning", "error")
    found = deployed.json("doctor", exit_code=None)["findings"]
    return {one["about"]: one for one in sorted(found, key=lambda one: order.index(one["verdict"]))}


def wrong(deployed: Deployment) -> set[str]:
    return {about for about, one in findings(deployed).items() if one["verdict"] == "error"}


def test_a_deployment_that_is_well_is_said_to_be_well(deployed: Deployment) -> None:
    deployed.services.telegram.webhook = {"url": "https://shop.example/webhooks/telegram"}
    deployed.start("worker")
    wait_until(lambda: "workers" not in wrong(deployed))
    wait_until(lambda: findings(deployed)["queues"]["verdict"] == "ok")
    done = deployed.mirt("doctor")
    assert done.returncode == 0, done.stdout
    assert "nothing is wrong" in done.stdout
    found = findings(deployed)
    for about, text in (
        ("database", "PostgreSQL "),
        ("rabbitmq", "RabbitMQ "),
        ("redis", "Redis "),
        ("schema", "as this version expects"),
        ("clock", "this machine"),
        ("versions", "dramatiq "),
        ("telegram", "@fake_bot"),
        ("webhook", "messages come to https://shop.example/webhooks/telegram"),
    ):
        assert found[about]["verdict"] == "ok", found[about]
        assert text in found[about]["found"]


@pytest.mark.slow
def test_nobody_at_work_is_wrong_and_the_command_that_starts_them_is_named(
    deployed: Deployment,
) -> None:
    found = findings(deployed)
    assert found["workers"]["advice"] == "mirt worker"
    assert found["webhook"]["found"] == "Telegram sends messages nowhere: no webhook is set"
    assert found["scheduler"]["advice"] == "mirt scheduler"
    assert found["queues"]["verdict"] == "warning", "no worker has declared them yet"
    deployed.start("worker", "llm", "webhooks")
    wait_until(lambda: "no worker serves" in findings(deployed)["workers"]["found"])
    assert "mirt worker" in findings(deployed)["workers"]["advice"]
    assert "crm" in findings(deployed)["workers"]["advice"]


def test_a_server_that_is_down_is_named_and_all_others_are_still_looked_at(
    deployed: Deployment, postgres: Postgres, rabbitmq: RabbitMQ, redis_server: Redis
) -> None:
    servers = {"database": postgres, "rabbitmq": rabbitmq, "redis": redis_server}
    for name, server in servers.items():
        server.stop()
        began = time.monotonic()
        found = findings(deployed)
        assert time.monotonic() - began < 25
        assert found[name]["verdict"] == "error"
        assert found[name]["advice"]
        for other in servers.keys() - {name}:
            assert found[other]["verdict"] == "ok", found[other]
        server.start()


@pytest.mark.slow
def test_a_server_that_hangs_is_not_waited_for_long(
    deployed: Deployment, rabbitmq: RabbitMQ
) -> None:
    with rabbitmq.frozen():
        began = time.monotonic()
        found = findings(deployed)
        assert time.monotonic() - began < 25
    assert found["rabbitmq"]["verdict"] == "error"
    assert found["database"]["verdict"] == "ok"


def test_a_queue_that_was_declared_otherwise_is_named(deployed: Deployment) -> None:
    url = deployed.environment["RABBITMQ_URL"]
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_declare("llm", durable=True)
    found = findings(deployed)["queues"]
    assert found["verdict"] == "error"
    assert found["found"].startswith("llm:")
    assert "delete the queue" in found["advice"]


@pytest.mark.parametrize(
    ("statement", "advice"),
    [
        ("UPDATE alembic_version SET version_num = '0001'", "mirt migrate"),
        ("UPDATE alembic_version SET version_num = '9999'", "start the version that created it"),
        ("DROP TABLE alembic_version", "mirt migrate"),
    ],
)
def test_another_schema_is_named_and_every_command_refuses_it(
    deployed: Deployment, statement: Any, advice: str
) -> None:
    with psycopg.connect(deployed.environment["DATABASE_URL"]) as connection:
        connection.execute(statement)
    found = findings(deployed)
    assert found["schema"]["verdict"] == "error"
    assert found["schema"]["advice"] == advice
    assert found["redis"]["verdict"] == "ok"
    for command in (["inspect"], ["dead", "list"], ["trace", "x"], ["purge", "llm", "--yes"]):
        refused = deployed.mirt(*command)
        assert refused.returncode == 78, command
        assert "(SCHEMA)" in refused.stderr


def test_a_privilege_that_is_missing_is_named(deployed: Deployment, postgres: Postgres) -> None:
    url = deployed.environment["DATABASE_URL"]
    with psycopg.connect(url) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    try:
        limited = url.replace("mirt@", "reader@")
        done = deployed.mirt("doctor", "--json", DATABASE_URL=limited)
        assert "INSERT on tasks" in done.stdout
        assert "CREATE in the schema" in done.stdout
    finally:
        with psycopg.connect(url) as connection:
            connection.execute("DROP OWNED BY reader")
            connection.execute("DROP ROLE reader")


def test_an_old_name_is_reported_with_the_new_one(deployed: Deployment) -> None:
    done = deployed.mirt("doctor", CELERY_RESULT_TIMEOUT="25")
    assert "CELERY_RESULT_TIMEOUT is the old name of RESULT_TIMEOUT" in done.stdout


@pytest.mark.slow
def test_each_command_says_which_server_is_down_and_ends_with_69(
    deployed: Deployment, postgres: Postgres, rabbitmq: RabbitMQ
) -> None:
    rabbitmq.stop()
    for command in (["inspect", "queues"],):
        failed = deployed.mirt(*command)
        assert failed.returncode == 69
        assert failed.stderr.startswith("RABBITMQ_URL: RabbitMQ cannot be reached")
        assert failed.stderr.count("\n") == 1
    assert deployed.mirt("inspect", "stats").returncode == 0
    postgres.stop()
    for command in (
        *(["inspect"], ["dead", "list"], ["trace", "x"], ["dead", "replay", "x"]),
        *(["worker"], ["scheduler"], ["migrate"]),
    ):
        failed = deployed.mirt(*command)
        assert failed.returncode == 69, command
        assert failed.stderr.startswith("DATABASE_URL: the database cannot be reached")
        assert failed.stderr.count("\n") == 1, failed.stderr
    rabbitmq.start()
    postgres.start()


def test_a_wrong_configuration_ends_every_command_with_78_and_no_value(
    deployed: Deployment,
) -> None:
    for command in (["inspect"], ["dead", "list"], ["trace", "x"], ["doctor"]):
        refused = deployed.mirt(*command, LLM_API_KEY="", WORKER_THREADS="s3cret")
        assert refused.returncode == 78
        assert "WORKER_THREADS" in refused.stderr
        assert "s3cret" not in refused.stderr + refused.stdout
        assert "Traceback" not in refused.stderr


def test_embedded_everything_is_seen_beside_the_running_service_and_nothing_is_made(
    embedded: Embedded,
) -> None:
    before = embedded.mirt("inspect")
    assert before.returncode == 69
    assert "mirt up" in before.stderr
    assert embedded.mirt("doctor").returncode == 1
    assert [file.name for file in embedded.home.iterdir()] == []

    embedded.up()
    wait_until(lambda: embedded.mirt("doctor").returncode == 0)
    done = embedded.mirt("doctor")
    assert "SQLite" in done.stdout
    assert embedded.mirt("inspect").returncode == 0
    assert "0/8" in embedded.mirt("inspect", "stats").stdout
    assert embedded.mirt("send", "Привіт", "--port", str(embedded.port)).returncode == 0
    told = embedded.mirt("trace", "1001")
    assert "delivered to telegram 1001" in told.stdout, told.stderr
    assert "Traceback" not in embedded.output
