"""What gunicorn says, as lines of our log: the same form, and without the secrets."""

from typing import Any

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
        try:
            configure(load_settings())
        except SettingsError:
            return
        for logger in (self.error_log, self.access_log):
            logger.handlers.clear()
            logger.propagate = True
