"""Show the orders, and confirm or refuse one that waits for a person."""

from typing import Any, Final

import falcon

from mirt.errors import ErrorCode, PermanentError
from mirt.store.shop.orders import OrderState
from service.admin import audit, orders
from service.admin_ui.auth.access import Principal
from service.admin_ui.page import Form, FormPage, ReadPage, Redirect, View, value

ADDRESS: Final = "/ops/orders"
ON_A_PAGE: Final = 50
MOST_PAGES: Final = 10_000
STATES: Final = {
    "": "All",
    OrderState.CREATED: "In the CRM",
    OrderState.REJECTED: "Refused by the CRM",
    OrderState.FAILED: "Failed",
    OrderState.UNKNOWN: "Unknown",
    OrderState.REFUSED: "Refused by a person",
}


class OrdersPage(ReadPage, FormPage):
    """``/ops/orders``: orders to confirm, those that went wrong, and all, by state."""

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Return the orders that wait; customers and addresses are hidden unless ``texts=1``."""
        texts = req.get_param("texts") == "1"
        if texts:
            audit.record_texts_shown(self.runtime, "orders")
            self.page_context.log_action(principal, "texts shown", of="orders")
        context = {
            "orders": orders.to_approve(self.runtime),
            **self._lists(req),
            "texts": texts,
            "without_texts": ADDRESS,
            "with_texts": f"{ADDRESS}?texts=1",
        }
        return View("orders.html", context, is_live=not texts)

    def _lists(self, req: falcon.Request) -> dict[str, Any]:
        state, page = req.get_param("state") or "", req.get_param("page") or "1"
        if state not in STATES:
            known = ", ".join(filter(None, STATES))
            raise PermanentError(f"state: must be one of {known}", ErrorCode.INVALID_INPUT)
        if not page.isascii() or not page.isdigit() or not 0 < int(page[:6]) < MOST_PAGES:
            raise PermanentError("page: must be a number from 1", ErrorCode.INVALID_INPUT)
        number = int(page)
        found = orders.list_orders(
            self.runtime,
            state=state or None,
            limit=ON_A_PAGE + 1,
            offset=(number - 1) * ON_A_PAGE,
        )
        address = f"{ADDRESS}?state={state}&page="
        return {
            "troubled": found.troubled[:ON_A_PAGE] if number == 1 and not state else [],
            "listed": found.listed[:ON_A_PAGE],
            "states": STATES,
            "state": state,
            "newer": f"{address}{number - 1}" if number > 1 else None,
            "older": f"{address}{number + 1}" if len(found.listed) > ON_A_PAGE else None,
        }

    def act(self, form: Form, principal: Principal) -> View | Redirect:
        """Confirm or refuse one order."""
        name, decision = value(form, "order"), value(form, "do")
        if decision not in ("approve", "refuse"):
            raise PermanentError("do: must be approve or refuse", ErrorCode.INVALID_INPUT)
        decide, done = (
            (orders.approve, "goes to the CRM")
            if decision == "approve"
            else (orders.refuse, "is refused; write to the customer")
        )
        if not decide(self.runtime, name):
            return Redirect(f"{name} does not wait any more.", ADDRESS)
        self.page_context.log_action(principal, f"{decision} order", of=name)
        return Redirect(f"{name} {done}.", ADDRESS)
