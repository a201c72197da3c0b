"""One deployment and one browser for all tests of a module; a window of its own for each."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import psycopg
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.browser.chromium import ARGUMENTS, CHROMIUM
from tests.deployment import Deployment, deployment
from tests.fakes import FakeServices
from tests.servers import Postgres, RabbitMQ, Redis

OPERATOR, READER = "operators-token", "readers-token"
PATIENCE_MS: Final = 20_000
DESKTOP: Final = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed with the module: while it is open its event loop counts as running in this thread."""
    with sync_playwright() as playwright:
        program = CHROMIUM.find()
        chromium = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        expect.set_options(timeout=PATIENCE_MS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def stage(
    rabbitmq: RabbitMQ,
    redis_server: Redis,
    postgres: Postgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    """Ingress and workers, as in production."""
    with (
        FakeServices() as services,
        rabbitmq.isolated() as rabbitmq_url,
        redis_server.isolated() as redis_url,
        postgres.isolated() as database_url,
    ):
        servers = {
            "RABBITMQ_URL": rabbitmq_url,
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
        }
        tokens = {"OPS_TOKEN": OPERATOR, "OPS_READ_TOKEN": READER}
        with deployment(services, tmp_path_factory.mktemp("logs"), servers, **tokens) as here:
            here.web()
            here.start("worker")
            yield here


@pytest.fixture
def deployed(stage: Deployment) -> Iterator[Deployment]:
    """The deployment, in a world that has forgotten what happened before, without dead letters."""
    stage.services.reset()
    with psycopg.connect(stage.environment["DATABASE_URL"]) as connection:
        connection.execute("DELETE FROM dead_letters")
    yield stage
    stage.services.mend()
    stage.services.release()


@dataclass
class Window:
    """A window of the browser, and what went wrong in it."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)
    expected: str = "(nothing)"
    """Complaints of the browser that a test allows, as a regular expression."""

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))

    def go(self, path: str) -> None:
        self.page.goto(f"{self.address}{path}")

    def log_in(self, token: str = OPERATOR) -> None:
        self.go("/ops/login")
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(f"{self.address}/ops")

    def refreshes(self) -> None:
        """Wait until the page has refreshed itself once more."""
        before = self.page.locator("#clock").get_attribute("datetime")
        self.page.wait_for_function(
            "before => document.getElementById('clock').dateTime !== before", arg=before
        )

    def press_until(self, key: str, what: str) -> None:
        """Press a key until a link or a button that is called so has the focus."""
        for _ in range(60):
            self.page.keyboard.press(key)
            focused = self.page.locator("a:focus, button:focus")
            if focused.count() and focused.inner_text().startswith(what):
                return
        raise AssertionError(f"the keyboard does not reach {what}")

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not re.search(self.expected, message.text):
            self.complaints.append(message.text)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser with an empty jar."""
    context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
    yield context
    context.close()


@pytest.fixture
def window(context: BrowserContext, deployed: Deployment) -> Iterator[Window]:
    """A window without a login. A complaint of the browser or its content policy is a failure."""
    window = Window(context.new_page(), f"http://127.0.0.1:{deployed.port}")
    yield window
    assert window.complaints == []
