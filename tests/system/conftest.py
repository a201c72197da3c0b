"""The service as its users run it: embedded in a directory of its own, or deployed on servers."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.fakes import FakeServices
from tests.faults.conftest import deployed as deployed  # noqa: PLC0414
from tests.polling import START_WITHIN_S, wait_until
from tests.servers import Postgres
from tests.servers.ports import free_port

MIRT = Path(sys.executable).with_name("mirt")
FOREIGN = ("RABBITMQ_URL", "REDIS_URL", "DATABASE_URL", "TELEGRAM", "LLM", "CELERY", "TASKS", "OPS")


@dataclass
class Embedded:
    """``mirt up`` in its own directory; started, killed and started again."""

    home: Path
    port: int = field(default_factory=free_port)
    settings: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def environment(self) -> dict[str, str]:
        own = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
        return {**own, **self.settings, "NO_COLOR": "1"}

    @property
    def output(self) -> str:
        return (self.home / "output").read_text()

    def up(self) -> "subprocess.Popen[bytes]":
        with (self.home / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [MIRT, "up", "--port", str(self.port)],
                cwd=self.home,
                env=self.environment,
                stdout=output,
                stderr=output,
            )
        wait_until(lambda: self._listens() or self.process_is_over(), within_s=START_WITHIN_S)
        return self.process

    def process_is_over(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def mirt(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [MIRT, *command],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def _listens(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            return False


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Embedded]:
    """No token and no key: the console and the scripted agent."""
    service = Embedded(tmp_path)
    yield service
    service.stop()


@pytest.fixture
def connected(embedded: Embedded, services: FakeServices) -> Embedded:
    """With a bot and an agent in the fake world."""
    embedded.settings = {
        "TELEGRAM_BOT_TOKEN": "123456:token",
        "TELEGRAM_API_URL": services.telegram_url,
        "LLM_API_KEY": "llm-key",
        "LLM_BASE_URL": services.llm_url,
    }
    return embedded


@pytest.fixture
def postgres_without_schema(postgres: Postgres) -> Iterator[str]:
    """An empty database."""
    url = urlsplit(postgres.url)
    name = f"empty_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield url._replace(path=f"/{name}").geturl()
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
        connection.execute(drop.format(sql.Identifier(name)))
