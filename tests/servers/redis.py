"""Redis for the tests. It keeps nothing on disk: a restart loses everything, a fault of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import redis

from tests.servers.directories import private_directory
from tests.servers.docker import Container
from tests.servers.ports import free_port
from tests.servers.process import Process
from tests.servers.provision import Program
from tests.servers.server import Foreign, Runner, Server

IMAGE = "redis:7-alpine"
MEMORY_ONLY = ("--save", "", "--appendonly", "no")
DATABASES = 16


class Redis(Server):
    """Each test gets the next logical database, emptied; on a named server, the named one."""

    name = "Redis"
    variable = "TEST_REDIS_URL"
    program = Program("redis-server", package="redis-server")

    def __init__(self, url: str, runner: Runner, databases: range) -> None:
        super().__init__(url, runner)
        self._database = cycle(databases)

    @classmethod
    def named(cls, url: str) -> Self:
        database = int(urlsplit(url).path.strip("/") or 0)
        return cls(url, Foreign(cls.name, cls.variable), range(database, database + 1))

    @classmethod
    def private(cls, program: Path) -> Self:
        port = free_port()
        home = private_directory("redis")
        listen = ("--bind", "127.0.0.1", "--port", str(port), "--dir", str(home))
        process = Process(
            cls.name,
            home,
            [str(program), *listen, *MEMORY_ONLY, "--databases", str(DATABASES)],
        )
        return cls(f"redis://127.0.0.1:{port}/0", process, range(1, DATABASES))

    @classmethod
    def contained(cls) -> Self:
        port = free_port()
        container = Container(cls.name, IMAGE, {port: 6379}, command=["redis-server", *MEMORY_ONLY])
        return cls(f"redis://127.0.0.1:{port}/0", container, range(1, DATABASES))

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let it have no memory for one write more: https://redis.io/docs/latest/develop/reference/eviction/."""
        self.must_be_ours("fill")
        with redis.Redis.from_url(self.url) as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)
            try:
                yield
            finally:
                client.config_set("maxmemory", 0)

    @contextmanager
    def isolated(self) -> Iterator[str]:
        url = urlsplit(self.url)._replace(path=f"/{next(self._database)}").geturl()
        with redis.Redis.from_url(url) as client:
            client.flushdb()
        yield url

    def answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
