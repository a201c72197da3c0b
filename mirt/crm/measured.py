"""Measure a CRM: the seconds and the outcome of each request."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mirt.crm.protocol import Crm, CrmOrder
from mirt.errors import (
    OutcomeUnknownError,
    PermanentError,
    RateLimitError,
    SoftTimeLimitExceeded,
)
from mirt.observe import metrics

T = TypeVar("T")


class MeasuredCrm:
    """A CRM that forwards to ``crm``.

    Outcomes: ``answered``, ``refused``, ``limited``, ``failed``, and for a creation ``unknown``.
    """

    def __init__(self, crm: Crm) -> None:
        self._crm = crm

    def create(self, order: Mapping[str, Any]) -> CrmOrder:
        """Create an order, and measure the request."""
        return _measure("create", lambda: self._crm.create(order))

    def find(self, external_id: str) -> CrmOrder | None:
        """Look an order up by our ``external_id``, and measure the request."""
        return _measure("find", lambda: self._crm.find(external_id))

    def get(self, order_id: str) -> CrmOrder:
        """Read an order, and measure the request."""
        return _measure("get", lambda: self._crm.get(order_id))


def _measure(call: str, ask: Callable[[], T]) -> T:
    began, outcome = time.perf_counter(), "failed"
    try:
        answer = ask()
        outcome = "answered"
    except PermanentError:
        outcome = "refused"
        raise
    except RateLimitError:
        outcome = "limited"
        raise
    except (OutcomeUnknownError, SoftTimeLimitExceeded):
        if call == "create":
            outcome = "unknown"
        raise
    finally:
        metrics.CRM_SECONDS.observe(time.perf_counter() - began, call=call, outcome=outcome)
    return answer
