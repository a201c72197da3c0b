"""Where no CRM is configured: an order is refused by a dead letter, which can be replayed later."""

from collections.abc import Mapping
from typing import Any, NoReturn

from mirt.errors import ErrorCode, PermanentError


class NoCrm:
    """Knows no order and takes none."""

    def create(self, order: Mapping[str, Any]) -> NoReturn:
        """Refuse it."""
        _refuse()

    def find(self, external_id: str) -> None:
        """Nothing."""

    def get(self, order_id: str) -> NoReturn:
        """Refuse it."""
        _refuse()


def _refuse() -> NoReturn:
    raise PermanentError(
        "there is no CRM: SNITKIX_API_KEY and SNITKIX_API_URL are not set", ErrorCode.CRM_REJECTED
    )
