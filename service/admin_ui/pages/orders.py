"""Show the orders that wait for a person, and confirm or refuse one."""

import falcon

from mirt.errors import ErrorCode, PermanentError
from service.admin import orders
from service.admin_ui.auth.access import Principal
from service.admin_ui.page import Form, FormPage, ReadPage, Redirect, View, value

ADDRESS = "/ops/orders"


class OrdersPage(ReadPage, FormPage):
    """``/ops/orders``: orders of the agent that the CRM gets only after a person has confirmed."""

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Return the orders that wait; customers and addresses are hidden unless ``texts=1``."""
        texts = req.get_param("texts") == "1"
        if texts:
            self.page_context.log_action(principal, "texts shown", of="orders")
        context = {
            "orders": orders.to_approve(self.runtime),
            "texts": texts,
            "without_texts": ADDRESS,
            "with_texts": f"{ADDRESS}?texts=1",
        }
        return View("orders.html", context, is_live=not texts)

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
