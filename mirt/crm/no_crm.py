"""Refuse orders where no CRM is configured. Their dead letters can be replayed later."""

from collections.abc import Mapping
from typing import Any, NoReturn

from mirt.errors import ErrorCode, PermanentError


class NoCrm:
    """A CRM without orders that refuses new ones with ``CRM_REJECTED``."""

    def create(self, order: Mapping[str, Any]) -> NoReturn:
        """Refuse the order with a reason that names the missing settings."""
        _refuse()

    def find(self, external_id: str) -> None:
        """Find no order, so that a replay goes on to ``create``."""

    def get(self, order_id: str) -> NoReturn:
        """Refuse the request with a reason that names the missing settings."""
        _refuse()


def _refuse() -> NoReturn:
    raise PermanentError(
        "there is no CRM: SNITKIX_API_KEY and SNITKIX_API_URL are not set", ErrorCode.CRM_REJECTED
    )
