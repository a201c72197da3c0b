"""Define what an outside service says of itself when an operator checks it."""

from dataclasses import dataclass
from typing import Final, Protocol

CHECK_S: Final = 4.0
"""Seconds that a service has to answer each request of a check."""


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """The state of a service in a few words; ``advice`` says what to correct, if anything.

    Without ``works`` the requests of customers would fail.
    """

    found: str
    advice: str | None = None
    works: bool = True


class CheckableService(Protocol):
    """An adapter that can ask its service, for free and without effect, whether it takes our key.

    >>> service.check().found
    '@my_shop_bot'
    """

    def check(self) -> ServiceReport:
        """Ask the service; each request ends within ``CHECK_S`` seconds.

        Raises:
            OutageError: the service refuses our key or account; ``setting`` is the one to correct.
            ExternalServiceError: it does not answer, or not as this service would.
            RateLimitError: it asks to wait.
            PermanentError: it refuses the request.
        """
        ...

    def close(self) -> None:
        """Close the connections."""
        ...
