"""A process that cannot work says why, in one line a problem, and does not start."""

import pytest

from tests.system.conftest import Embedded

NOWHERE = {
    "RABBITMQ_URL": "amqp://127.0.0.1:1",
    "REDIS_URL": "redis://127.0.0.1:1",
    "TELEGRAM_BOT_TOKEN": "123456:token",
    "TELEGRAM_WEBHOOK_SECRET": "webhook-secret",
    "LLM_API_KEY": "key",
}
"""The settings of a deployment but DATABASE_URL, with servers that do not run."""


def test_every_missing_variable_is_named_at_once(embedded: Embedded) -> None:
    embedded.settings = {"RABBITMQ_URL": "amqp://localhost", "WORKER_THREADS": "many"}
    refused = embedded.mirt("worker")
    assert refused.returncode == 78
    assert "WORKER_THREADS" in refused.stderr
    embedded.settings["WORKER_THREADS"] = "4"
    refused = embedded.mirt("worker")
    for name in ("REDIS_URL", "DATABASE_URL", "TELEGRAM_BOT_TOKEN", "LLM_API_KEY"):
        assert f"  {name}: required" in refused.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "postgresql://mirt:S3cr@tPart@127.0.0.1:1/mirt"),
        ("RABBITMQ_URL", "amqp://mirt:S3cr/tPart@127.0.0.1:1/"),
        ("REDIS_URL", "redis://:S3cr#tPart@127.0.0.1:1/0"),
    ],
)
@pytest.mark.parametrize("command", ["worker", "web", "up", "doctor", "migrate"])
def test_nothing_of_a_password_that_is_not_encoded_is_said(
    embedded: Embedded, command: str, variable: str, value: str
) -> None:
    embedded.settings = {variable: value}
    done = embedded.mirt(command)
    assert done.returncode == 78
    assert f"{variable}: no URL of" in done.stderr
    assert not [piece for piece in ("S3cr", "tPart") if piece in done.stdout + done.stderr]


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("DATABASE_URL", "postgres://127.0.0.1:1/m?pool=5", 'PostgreSQL knows no option "pool"'),
        ("REDIS_URL", "redis://127.0.0.1:1/0?pool=5", 'Redis knows no option "pool"'),
        ("RABBITMQ_URL", "amqp://127.0.0.1:1/?pool=5", 'RabbitMQ knows no option "pool"'),
    ],
)
@pytest.mark.parametrize("command", ["worker", "web", "scheduler"])
def test_an_option_that_its_driver_does_not_know_is_one_line(
    embedded: Embedded, command: str, variable: str, value: str, problem: str
) -> None:
    embedded.settings = {**NOWHERE, "DATABASE_URL": "postgres://127.0.0.1:1/mirt", variable: value}
    refused = embedded.mirt(command)
    assert refused.returncode == 78
    assert refused.stderr == f"{variable}: {problem}\n"
    diagnosis = embedded.mirt("doctor")
    assert diagnosis.returncode == 1
    assert f"{variable}: {problem}" in diagnosis.stdout


@pytest.mark.parametrize("command", [["migrate"], ["inspect"], ["dead", "list"]])
def test_a_command_names_the_option_too(embedded: Embedded, command: list[str]) -> None:
    embedded.settings = {"DATABASE_URL": "postgres://127.0.0.1:1/mirt?pgbouncer=true"}
    embedded.settings["RABBITMQ_URL"] = "amqp://127.0.0.1:1"
    refused = embedded.mirt(*command)
    assert refused.returncode == 78
    problem = 'PostgreSQL knows no option "pgbouncer" (CONFIGURATION)'
    assert refused.stderr == f"DATABASE_URL: {problem}\n"


@pytest.mark.parametrize("command", ["worker", "web", "scheduler"])
def test_a_schema_that_is_not_known_is_refused_with_what_to_run(
    embedded: Embedded, command: str, postgres_without_schema: str
) -> None:
    embedded.settings = {**NOWHERE, "DATABASE_URL": postgres_without_schema}
    refused = embedded.mirt(command)
    assert refused.returncode == 78
    assert "mirt migrate" in refused.stderr
    migrated = embedded.mirt("migrate")
    assert migrated.returncode == 0, migrated.stderr


def test_a_machine_without_the_secrets_can_migrate_and_look(
    embedded: Embedded, postgres_without_schema: str
) -> None:
    embedded.settings = {
        "RABBITMQ_URL": "amqp://127.0.0.1:1",
        "DATABASE_URL": postgres_without_schema,
    }
    assert embedded.mirt("migrate").returncode == 0
    for command in (["inspect"], ["dead", "list"], ["inspect", "registered"]):
        done = embedded.mirt(*command)
        assert done.returncode in {0, 1}, done.stderr
        assert done.stdout
    assert embedded.mirt("trace", "7").stderr.endswith("(NOT_FOUND)\n")


def test_a_deploy_may_check_all_settings_before_it_migrates(
    embedded: Embedded, postgres_without_schema: str
) -> None:
    embedded.settings = {
        "RABBITMQ_URL": "amqp://127.0.0.1:1",
        "DATABASE_URL": postgres_without_schema,
    }
    refused = embedded.mirt("migrate", "--check-settings")
    assert refused.returncode == 78
    assert "  LLM_API_KEY: required when RABBITMQ_URL is set" in refused.stderr
    assert "mirt migrate" in embedded.mirt("inspect").stderr, "it has changed nothing"


def test_an_unknown_queue_is_refused(embedded: Embedded) -> None:
    refused = embedded.mirt("worker", "no-such-queue")
    assert refused.returncode != 0
    assert "no-such-queue" in refused.stderr
    assert "webhooks" in refused.stderr


def test_a_secret_is_never_printed_when_the_settings_are_wrong(embedded: Embedded) -> None:
    embedded.settings = {"TELEGRAM_WEBHOOK_SECRET": "not allowed: spaces!"}
    refused = embedded.mirt("up")
    assert refused.returncode == 78
    assert "TELEGRAM_WEBHOOK_SECRET" in refused.stderr
    assert "spaces!" not in refused.stderr + refused.stdout
