"""What gunicorn says, as lines of our log: the same form, and without the secrets."""

import sys
from contextlib import suppress
from types import TracebackType
from typing import Any

from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger

from mirt.observe.logs import configure
from mirt.settings import SettingsError, load_settings


class Lines(Logger):  # type: ignore[misc]
    """Hands gunicorn's own lines to the handlers of the root logger, in every of its processes.

    Where the settings are wrong gunicorn writes as it does by itself: a worker says what is wrong.
    """

    def setup(self, cfg: Any) -> None:
        """Set the loggers up, as gunicorn does at its start and when it is told to reload."""
        super().setup(cfg)
        with suppress(SettingsError):
            configure(load_settings())
            for logger in (self.error_log, self.access_log):
                logger.handlers.clear()
                logger.propagate = True
        sys.excepthook = self._but_for_halting(sys.excepthook)

    def _but_for_halting(self, uncaught: Any) -> Any:
        # Where two workers cannot boot, the second ends gunicorn while the first is ending it.
        def hook(
            kind: type[BaseException], error: BaseException, trace: TracebackType | None
        ) -> None:
            if isinstance(error, HaltServer):
                self.error_log.error("Halted: %s", error.reason)
            else:
                uncaught(kind, error, trace)

        return hook
