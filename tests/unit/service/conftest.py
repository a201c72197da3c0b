"""An ingress in this process: the real business on a SQLite file, with the eager broker."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from falcon.testing import Result, TestClient
from structlog.testing import capture_logs
from structlog.typing import EventDict

from broker.durable import DurableBroker
from broker.stack import install
from broker.task import registry
from mirt.runtime import Runtime, open_runtime, use_runtime
from mirt.store.engine.migrate import upgrade
from service.app import create_app
from tests.deployment import SECRET
from tests.fakes import FakeServices
from tests.settings import settings_for, sqlite_url


@dataclass
class Ingress:
    """An ingress to post to, and the runtime behind it."""

    client: TestClient
    runtime: Runtime

    def post(self, update: Any, *, secret: str | None = SECRET, **request: Any) -> Result:
        headers = {} if secret is None else {"X-Telegram-Bot-Api-Secret-Token": secret}
        headers |= request.pop("headers", {})
        if isinstance(update, bytes):
            headers.setdefault("Content-Type", "application/json")
            return self._answer(body=update, headers=headers, **request)
        return self._answer(json=update, headers=headers, **request)

    def _answer(self, **request: Any) -> Result:
        return self.client.simulate_post("/webhooks/telegram", **request)


Open = Callable[..., Ingress]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with our schema, to be copied: migrating takes longer than most tests here."""
    folder = tmp_path_factory.mktemp("migrated")
    upgrade(sqlite_url(folder))
    return folder / "mirt.db"


@pytest.fixture
def ingress(services: FakeServices, tmp_path: Path, migrated: Path) -> Iterator[Open]:
    """Open an ingress; ``app`` are arguments of ``create_app``, the rest are settings."""
    opened: list[tuple[Runtime, DurableBroker]] = []

    def open_ingress(app: Mapping[str, Any] | None = None, **settings: Any) -> Ingress:
        shutil.copy(migrated, tmp_path / "mirt.db")
        values = {"database_url": sqlite_url(tmp_path), "TASKS_EAGER": True, **settings}
        chosen = settings_for(services, **values)
        runtime = open_runtime(chosen)
        use_runtime(runtime)
        opened.append((runtime, install(chosen)))
        return Ingress(TestClient(create_app(runtime, **(app or {}))), runtime)

    yield open_ingress
    for runtime, broker in opened:
        broker.close()
        runtime.close()
    registry.release()


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    """Return the logged events, with the values that the context has bound."""
    with capture_logs([structlog.contextvars.merge_contextvars]) as events:
        yield events
