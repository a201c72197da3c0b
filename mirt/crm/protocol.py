"""What every CRM can do, and the values it speaks in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class CrmOrder:
    """An order as the CRM has it; ``status`` in our words."""

    order_id: str
    external_id: str
    status: str


class Crm(Protocol):
    """Keeps orders. It has no idempotency key: the same order sent twice is two orders.

    All methods raise ``RateLimitError``, ``ExternalServiceError``, ``PermanentError``
    (``CRM_REJECTED``, with the CRM's own words) and ``SoftTimeLimitExceeded``.
    """

    def create(self, order: Mapping[str, Any]) -> CrmOrder:
        """Create an order.

        Raises:
            OutcomeUnknownError: it may have been created.
        """
        ...

    def find(self, external_id: str) -> CrmOrder | None:
        """Look an order up by our own name for it; the first one, if there are several."""
        ...

    def get(self, order_id: str) -> CrmOrder:
        """The order of this id."""
        ...
