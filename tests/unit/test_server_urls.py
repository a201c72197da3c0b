"""A URL that is taken for one of a server is read by every library in the same way."""

from typing import Final
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pika import URLParameters
from redis.connection import parse_url
from sqlalchemy import make_url

from mirt.server_urls import POSTGRES, RABBITMQ, REDIS, Server

PASSWORDS: Final = st.text(st.sampled_from("ab1@/?#:[]%.-_ \\") | st.characters(codec="utf-8"))


def is_taken(server: Server, url: str) -> bool:
    try:
        server.check(url)
    except ValueError:
        return False
    return True


@given(PASSWORDS)
@example("1:a")
@example("12/b")
@example("a\u2100b")
def test_no_library_takes_a_part_of_the_password_for_something_else(password: str) -> None:
    if is_taken(RABBITMQ, url := f"amqp://mirt:{password}@rabbit:5672/shop"):
        amqp = URLParameters(url)
        assert (amqp.host, amqp.port, amqp.virtual_host) == ("rabbit", 5672, "shop")
    if is_taken(REDIS, url := f"redis://:{password}@redis:6379/3"):
        redis = parse_url(url)
        assert (redis["host"], redis["port"], redis["db"]) == ("redis", 6379, 3)
    if is_taken(POSTGRES, url := f"postgresql://mirt:{password}@db:5432/mirt"):
        postgres = make_url(url)
        assert (postgres.host, postgres.port, postgres.database) == ("db", 5432, "mirt")
        assert postgres.password == unquote(password)
        assert not postgres.query


@given(PASSWORDS)
def test_every_password_can_be_written(password: str) -> None:
    encoded = quote(password, safe="")
    RABBITMQ.check(f"amqp://mirt:{encoded}@rabbit/")
    REDIS.check(f"redis://:{encoded}@redis/0")
    POSTGRES.check(f"postgresql://mirt:{encoded}@db/mirt")


def test_a_refused_url_is_not_in_the_message() -> None:
    with pytest.raises(ValueError, match=r"^no URL of Redis \(redis://, rediss") as no:
        REDIS.check("redis://:head@tail@redis/0")
    assert no.value.__context__ is None
