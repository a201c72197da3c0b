"""Logging as a process of ours sets it up, and put back afterwards."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from structlog.typing import FilteringBoundLogger

from mirt.observe import secrets
from mirt.observe.logs import QUIET_LIBRARIES, configure
from tests.fakes import FakeServices
from tests.settings import settings_for

SECRET = "ops-token-9f8e7d"
Configure = Callable[..., FilteringBoundLogger]


@pytest.fixture
def configured(services: FakeServices) -> Iterator[Configure]:
    root, quiet = logging.getLogger(), (*QUIET_LIBRARIES, "dramatiq", "gunicorn.error")
    before = (root.handlers[:], root.level, {name: logging.getLogger(name).level for name in quiet})
    hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)

    def set_up(**values: Any) -> FilteringBoundLogger:
        configure(settings_for(services, **{"ops_token": SECRET, "log_format": "json", **values}))
        logger: FilteringBoundLogger = structlog.get_logger("test")
        return logger

    yield set_up
    structlog.reset_defaults()
    secrets.use(())
    logging.captureWarnings(capture=False)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    root.handlers[:], level, levels = before
    root.setLevel(level)
    for name, was in levels.items():
        logging.getLogger(name).setLevel(was)
