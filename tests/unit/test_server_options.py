"""An option that the driver of a server does not take is named before anything connects."""

import pytest
from pydantic import SecretStr

from broker.rabbitmq.connection import ConnectionSettings
from mirt.errors import ServerUrlError
from mirt.settings import Settings
from mirt.store.engine.database import Database
from mirt.store.engine.redis_client import connect_redis

SECRET = "S3cret"


def refusal_of_database(query: str) -> str:
    with pytest.raises(ServerUrlError) as refused:
        Database(f"postgres://mirt:{SECRET}@db:6543/mirt?{query}")
    return refused.value.message


def refusal_of_redis(url: str) -> str:
    with pytest.raises(ServerUrlError) as refused:
        connect_redis(url)
    return refused.value.message


def refusal_of_rabbitmq(query: str) -> str:
    url = SecretStr(f"amqps://mirt:{SECRET}@rabbit/?{query}")
    with pytest.raises(ServerUrlError) as refused:
        ConnectionSettings.of(Settings.model_construct(rabbitmq_url=url))
    return refused.value.message


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("pgbouncer=true", 'PostgreSQL knows no option "pgbouncer"'),
        ("sslmode=require&schema=public", 'PostgreSQL knows no option "schema"'),
        (
            "pgbouncer=true&connection_limit=1",
            'PostgreSQL knows no option "pgbouncer" and no option "connection_limit"',
        ),
        ("prepare_threshold=0", 'PostgreSQL knows no option "prepare_threshold"'),
        ("connect_timeout=soon", "connect_timeout must be a whole number of seconds"),
    ],
)
def test_an_option_of_a_pooler_or_another_driver_is_named(query: str, problem: str) -> None:
    assert refusal_of_database(query) == f"DATABASE_URL: {problem}"


@pytest.mark.parametrize(
    "query",
    [
        "sslmode=require&application_name=mirt",
        "connect_timeout=10",
        "options=-c%20search_path%3Dmirt",
        "target_session_attrs=read-write&keepalives_idle=30",
        "host=/var/run/postgresql",
    ],
)
def test_options_of_postgresql_are_taken(query: str) -> None:
    Database(f"postgresql://mirt@db/mirt?{query}").close()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://redis/0?pool=5", 'Redis knows no option "pool"'),
        ("redis://redis/0?ssl_cert_reqs=none", 'Redis knows no option "ssl_cert_reqs"'),
        ("redis://redis/0?socket_timeout=soon", "Invalid value for 'socket_timeout'"),
        ("rediss://redis/0?ssl_cert_reqs=maybe", "Invalid SSL Certificate Requirements Flag"),
    ],
)
def test_an_option_that_redis_does_not_take_is_named(url: str, problem: str) -> None:
    assert refusal_of_redis(url).startswith(f"REDIS_URL: {problem}")


@pytest.mark.parametrize(
    "url", ["redis://redis/0?socket_keepalive=true", "rediss://redis/0?ssl_cert_reqs=none"]
)
def test_options_of_redis_are_taken(url: str) -> None:
    connect_redis(url).close()


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("verify=verify_peer", 'RabbitMQ knows no option "verify"'),
        ("heartbeat=often", "Invalid heartbeat value 'often'"),
        ("frame_max=1", "Min AMQP 0.9.1 Frame Size is 4096"),
        ("ssl_options={", "ssl_options or tcp_options: "),
        ("ssl_options={'cafile': '/none'}", "ssl_options or tcp_options: "),
    ],
)
def test_an_option_that_rabbitmq_does_not_take_is_named(query: str, problem: str) -> None:
    assert refusal_of_rabbitmq(query).startswith(f"RABBITMQ_URL: {problem}")


def test_a_name_in_the_password_is_no_option() -> None:
    parameters = ConnectionSettings("amqp://mirt:heartbeat@rabbit/").parameters("test")
    assert parameters.heartbeat == ConnectionSettings("").heartbeat_s


def test_nothing_of_the_password_is_said() -> None:
    assert SECRET not in refusal_of_database("pgbouncer=true") + refusal_of_rabbitmq("a=b")
