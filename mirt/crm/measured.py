"""Measure a CRM: the seconds and the outcome of each request."""

from collections.abc import Mapping
from typing import Any

from mirt.crm.protocol import Crm, CrmOrder
from mirt.http.measured import measure
from mirt.observe import metrics


class MeasuredCrm:
    """A CRM that forwards to ``crm``.

    Outcomes: ``answered``, ``refused``, ``limited``, ``failed``, and for a creation ``unknown``.
    """

    def __init__(self, crm: Crm) -> None:
        self._crm = crm

    def create(self, order: Mapping[str, Any]) -> CrmOrder:
        """Create an order, and measure the request."""
        return measure(
            metrics.CRM_SECONDS, "create", lambda: self._crm.create(order), has_effect=True
        )

    def find(self, external_id: str) -> CrmOrder | None:
        """Look an order up by our ``external_id``, and measure the request."""
        return measure(metrics.CRM_SECONDS, "find", lambda: self._crm.find(external_id))

    def get(self, order_id: str) -> CrmOrder:
        """Read an order, and measure the request."""
        return measure(metrics.CRM_SECONDS, "get", lambda: self._crm.get(order_id))
