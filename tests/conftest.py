"""The servers as fixtures. A run that uses none of them starts none.

========================  =============================================================
``rabbitmq``              the server itself (:class:`RabbitMQ`), for tests that break it
``redis_server``          :class:`Redis`
``postgres``              :class:`Postgres`
``rabbitmq_url``          a virtual host of the test's own
``redis_url``             an empty logical database of the test's own
``database_url``          a database of the test's own, migrated
========================  =============================================================

Whatever a test did to a server, the next one that asks for it finds it running.
``browser`` (of ``tests/browser``) is a Chromium, which is installed like a server.
A test whose server cannot be had is skipped, and the end of the run says so loudly; where ``CI`` is
set it fails, because a promise that was not tested is not kept.
"""

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
import structlog

from tests.browser.chromium import CHROMIUM
from tests.fakes.fixtures import services as services  # noqa: PLC0414
from tests.servers import (
    FaultNotPossible,
    Postgres,
    RabbitMQ,
    Redis,
    Server,
    Servers,
    ServerUnavailable,
    start_servers,
)
from tests.servers.provision import install

pytest_plugins = ["tests.leftovers"]
KINDS: dict[str, type[Server]] = {
    "rabbitmq": RabbitMQ,
    "redis_server": Redis,
    "postgres": Postgres,
}
IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}
SERVERS = pytest.StashKey[Servers]()
NO_BROWSER = pytest.StashKey[str | None]()
"""Why there is no browser; None if there is one."""
UNTESTED = pytest.StashKey[dict[str, list[str]]]()
"""Why tests were skipped, and which."""


class Loggers(dict[str, Any]):
    """All loggers by name. ``values`` is a copy: a thread may add a logger while they are read.

    Pytest reads them before each test (``_pytest.logging.catching_logs``), without a lock.
    """

    def values(self) -> Any:
        return super().copy().values()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[UNTESTED] = {}
    logging.root.manager.loggerDict = Loggers(logging.root.manager.loggerDict)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the servers before the first test: installing them may take longer than a test may."""
    config = session.config
    asked = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if config.option.collectonly:
        return
    if "browser" in asked:
        config.stash[NO_BROWSER] = install([CHROMIUM], _announce(config))
    if not asked.isdisjoint(KINDS):
        _servers(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    if SERVERS in config.stash:
        config.stash[SERVERS].close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Mend what the test before may have broken."""
    missing = None
    if "browser" in getattr(item, "fixturenames", ()):
        missing = item.config.stash[NO_BROWSER]
    for fixture in KINDS.keys() & set(getattr(item, "fixturenames", ())):
        try:
            _servers(item.config).get(KINDS[fixture]).start()
        except ServerUnavailable as unavailable:
            missing = str(unavailable)
    if missing is not None:
        _leave_untested(item, missing)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    try:
        return (yield)
    except FaultNotPossible as refusal:
        reason = str(refusal)
    _leave_untested(item, reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    untested = terminalreporter.config.stash[UNTESTED]
    if not untested:
        return
    terminalreporter.section("NOT TESTED", sep="!", red=True, bold=True)
    for reason, tests in untested.items():
        terminalreporter.write_line(f"{len(tests)} tests: {reason}", red=True)
        for test in tests:
            terminalreporter.write_line(f"    {test}")


def _servers(config: pytest.Config) -> Servers:
    if SERVERS not in config.stash:
        config.stash[SERVERS] = start_servers(_announce(config))
    return config.stash[SERVERS]


def _announce(config: pytest.Config) -> Callable[[str], None]:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    return terminal.write_line if terminal else print


def _leave_untested(item: pytest.Item, reason: str) -> NoReturn:
    item.config.stash[UNTESTED].setdefault(reason, []).append(item.nodeid)
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def rabbitmq(pytestconfig: pytest.Config) -> RabbitMQ:
    return _servers(pytestconfig).get(RabbitMQ)


@pytest.fixture(scope="session")
def redis_server(pytestconfig: pytest.Config) -> Redis:
    return _servers(pytestconfig).get(Redis)


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> Postgres:
    return _servers(pytestconfig).get(Postgres)


@pytest.fixture
def rabbitmq_url(rabbitmq: RabbitMQ) -> Iterator[str]:
    with rabbitmq.isolated() as url:
        yield url


@pytest.fixture
def redis_url(redis_server: Redis) -> Iterator[str]:
    with redis_server.isolated() as url:
        yield url


@pytest.fixture
def database_url(postgres: Postgres) -> Iterator[str]:
    with postgres.isolated() as url:
        yield url


@pytest.fixture(autouse=True)
def no_log_context() -> None:
    """Forget what other tests have bound to the log lines of this thread."""
    structlog.contextvars.clear_contextvars()
