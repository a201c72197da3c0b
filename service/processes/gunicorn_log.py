"""Writes gunicorn's own log lines to our log: in the same format, and with secrets redacted."""

import sys
from contextlib import suppress
from types import TracebackType
from typing import Any

from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger

from mirt.observe.logs import configure
from mirt.settings import SettingsError, load_settings


class Lines(Logger):  # type: ignore[misc]
    """Logger class of gunicorn that hands its lines to the root logger, in arbiter and workers.

    While the settings are invalid, gunicorn writes its lines itself. A worker reports the error.
    """

    def setup(self, cfg: Any) -> None:
        """Set up the loggers. Called by gunicorn at its start and at each reload."""
        super().setup(cfg)
        with suppress(SettingsError):
            configure(load_settings())
            for logger in (self.error_log, self.access_log):
                logger.handlers.clear()
                logger.propagate = True
        sys.excepthook = self._wrap_excepthook(sys.excepthook)

    def _wrap_excepthook(self, default: Any) -> Any:
        # If two workers fail to boot, the second error reaches the arbiter while it handles the
        # first, and would be printed as a traceback.
        def hook(
            kind: type[BaseException], error: BaseException, trace: TracebackType | None
        ) -> None:
            if isinstance(error, HaltServer):
                self.error_log.error("Halted: %s", error.reason)
            else:
                default(kind, error, trace)

        return hook
