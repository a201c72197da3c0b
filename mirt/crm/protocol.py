"""Define the interface of a CRM, and the order that it returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class CrmOrder:
    """An order in the CRM; ``order_id`` is the CRM's id, ``status`` has our words."""

    order_id: str
    external_id: str
    status: str


class Crm(Protocol):
    """A store of orders. It has no idempotency key: an order sent twice becomes two orders.

    All methods raise ``RateLimitError``, ``ExternalServiceError``, ``PermanentError``
    (``CRM_REJECTED``, with the CRM's reason) and ``SoftTimeLimitExceeded``.
    """

    def create(self, order: Mapping[str, Any]) -> CrmOrder:
        """Create an order.

        Raises:
            OutcomeUnknownError: the order may have been created.
        """
        ...

    def find(self, external_id: str) -> CrmOrder | None:
        """Look an order up by our ``external_id``; return the first one if there are several."""
        ...

    def get(self, order_id: str) -> CrmOrder:
        """Return the order with this id of the CRM."""
        ...
