"""Search every column of every table, Redis and RabbitMQ for words of a customer."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import select

from mirt.store.engine.database import Database
from mirt.store.tables import metadata


def in_database(database: Database, words: Iterable[str]) -> list[str]:
    """Return ``table.column: word`` for each place; it knows a new column by itself."""
    found = []
    with database.transaction() as tx:
        for table in metadata.sorted_tables:
            for row in tx.execute(select(table)).mappings():
                for column, value in row.items():
                    text = as_text(value)
                    found += [f"{table.name}.{column}: {word}" for word in words if word in text]
    return found


def in_redis(client: Any, words: Iterable[str]) -> list[str]:
    """Return ``key: word`` for each place, in keys and in values of every kind."""
    found = []
    for key in client.scan_iter():
        text = as_text(key) + as_text(_value(client, key))
        found += [f"{as_text(key)}: {word}" for word in words if word in text]
    return found


def in_rabbitmq(channel: Any, queues: Iterable[str], words: Iterable[str]) -> list[str]:
    """Return ``queue: word`` for each ready message with a word. It takes the messages out."""
    found = []
    for queue in queues:
        while (message := channel.basic_get(queue, auto_ack=True))[0] is not None:
            text = as_text(message[2])
            found += [f"{queue}: {word}" for word in words if word in text]
    return found


def as_text(value: Any) -> str:
    """Return a value as a text that holds what it holds."""
    if isinstance(value, bytes):
        return value.decode(errors="replace").encode().decode("unicode_escape", "replace") + (
            value.decode(errors="replace")
        )
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=as_text)
    return str(value)


def _value(client: Any, key: bytes) -> Any:
    kind = as_text(client.type(key))
    if kind.startswith("string"):
        return client.get(key)
    if kind.startswith("list"):
        return client.lrange(key, 0, -1)
    if kind.startswith("hash"):
        return client.hgetall(key)
    if kind.startswith("zset"):
        return client.zrange(key, 0, -1)
    return list(client.smembers(key))
