"""Create and read orders in Snitkix. Its paths are unconfirmed, so they can be configured."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import SecretStr

from mirt.crm.protocol import CrmOrder
from mirt.errors import ErrorCode, ExternalServiceError, OutcomeUnknownError, PermanentError
from mirt.http import (
    CHECK_S,
    Answer,
    ExternalService,
    Refusal,
    ServiceReport,
    SettingNames,
)
from mirt.observe.printable import without_controls

TIMEOUT_S: Final = 15.0
LONGEST_TEXT: Final = 200
"""Characters of an id or a status that are kept."""
_OF_NO_ORDER: Final = "mirt-check"
OUR_WORDS: Final = {"pending": "pending_payment"}
"""Our name for each status that Snitkix names differently."""


class SnitkixCrm:
    """One Snitkix account."""

    def __init__(
        self,
        *,
        api_key: SecretStr,
        api_url: str,
        orders_path: str = "/api/orders",
        max_connections: int = 16,
    ) -> None:
        self._path = orders_path.rstrip("/")
        self._api = ExternalService(
            "crm",
            api_url,
            headers={"Authorization": SecretStr(f"Bearer {api_key.get_secret_value()}")},
            secrets=[api_key],
            timeout=TIMEOUT_S,
            refusal_code=ErrorCode.CRM_REJECTED,
            settings=SettingNames("SNITKIX_API_KEY", "SNITKIX_API_URL"),
            account_refusal=_account_refusal,
            max_connections=max_connections,
        )

    def create(self, order: Mapping[str, Any]) -> CrmOrder:
        """Create an order with one POST, which is never repeated here.

        Raises:
            OutcomeUnknownError: also for an answer without the id of the order.
        """
        answer = self._ask("POST", self._path, json=dict(order))
        created = _order(answer.body)
        if created is None:
            raise OutcomeUnknownError("crm", f"answered {answer.status} without an order's id")
        return created

    def find(self, external_id: str) -> CrmOrder | None:
        """Look an order up by our ``external_id``."""
        return self._find(external_id, TIMEOUT_S)

    def _find(self, external_id: str, timeout: float) -> CrmOrder | None:
        answer = self._ask(
            "GET",
            self._path,
            params={"external_id": external_id},
            idempotent=True,
            timeout=timeout,
        )
        body = answer.body if isinstance(answer.body, dict) else {}
        found = body.get("data", body.get("orders"))
        if not isinstance(found, list):
            raise ExternalServiceError("crm", f"answered {answer.status} without a list of orders")
        # A CRM that ignores the filter returns other orders, too.
        orders = [order for entry in found if (order := _order(entry)) is not None]
        return next((order for order in orders if order.external_id == external_id), None)

    def get(self, order_id: str) -> CrmOrder:
        """Return the order with this id of the CRM.

        Raises:
            ExternalServiceError: also for an answer without a status: it must not hide a known one.
        """
        answer = self._ask("GET", f"{self._path}/{_segment(order_id)}", idempotent=True)
        found = _order(answer.body, default_status="")
        if found is None or not found.status:
            raise ExternalServiceError("crm", f"answered {answer.status} without an order's status")
        return found

    def check(self) -> ServiceReport:
        """Look up an order that cannot exist: that proves the key and the path of the orders.

        ``/api/health`` would answer without a key.

        Raises:
            OutageError, ExternalServiceError, RateLimitError, PermanentError: as ``find``.
        """
        try:
            self._find(_OF_NO_ORDER, CHECK_S)
        except PermanentError as refused:
            advice = "correct SNITKIX_API_URL or SNITKIX_ORDERS_PATH"
            return ServiceReport(
                f"{self._path} cannot be searched: {refused.message}", advice, works=False
            )
        return ServiceReport("its orders can be searched")

    def close(self) -> None:
        """Close the connections. A later request opens new ones."""
        self._api.close()

    def _ask(self, method: str, path: str, **request: Any) -> Answer:
        answer = self._api.call(method, path, accept=range(400, 500), **request)
        if answer.status >= 400:
            raise PermanentError(f"crm: {answer.status} {_reason(answer)}", ErrorCode.CRM_REJECTED)
        return answer


def _account_refusal(answer: Answer) -> Refusal | None:
    is_refused = answer.status in {401, 403}
    return Refusal(str(answer.status), _reason(answer)) if is_refused else None


def _reason(answer: Answer) -> str:
    body = answer.body if isinstance(answer.body, dict) else {}
    reasons = [str(body[key]) for key in ("message", "error", "errors") if body.get(key)]
    return answer.without_quotes("; ".join(reasons))[:500] or "no reason given"


def _order(body: Any, *, default_status: str = "new") -> CrmOrder | None:
    inner = body.get("data", body) if isinstance(body, dict) else None
    if not isinstance(inner, dict):
        return None
    # The id has either name, and null counts as absent.
    order_id = next((inner[n] for n in ("id", "order_id") if inner.get(n) is not None), None)
    if not isinstance(order_id, str | int) or order_id == "":
        return None
    status = str(inner.get("status") or default_status)
    return CrmOrder(
        _kept(str(order_id)),
        str(inner.get("external_id", "")),
        _kept(OUR_WORDS.get(status, status)),
    )


def _kept(text: str) -> str:
    """Return a text that the database takes: the order exists, so no odd value may fail it."""
    return without_controls(text)[:LONGEST_TEXT]


def _segment(order_id: str) -> str:
    if not order_id or not order_id.replace("-", "").replace("_", "").isalnum():
        raise PermanentError("order_id: is not an id of the CRM", ErrorCode.INVALID_INPUT)
    return order_id
