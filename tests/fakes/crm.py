"""The CRM, which keeps its orders and, like the real one, creates the same order twice if asked."""

from typing import Any

from tests.fakes.traffic import Reply, Request

REQUIRED = ("external_id", "customer", "items", "total")


class CrmApi:
    """Orders in the order of their creation."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []

    def answer(self, request: Request) -> Reply:
        """Answer ``/api/…``."""
        if request.path == "/api/health":
            return Reply(200, {"status": "ok"})
        if not request.headers.get("authorization", "").removeprefix("Bearer "):
            return Reply(401, {"message": "Unauthenticated"})
        match request.method, request.path.removeprefix("/api/orders").strip("/"):
            case "POST", "":
                return self._create(request.body)
            case "GET", "":
                asked = request.query.get("external_id")
                return Reply(200, {"data": [o for o in self.orders if o["external_id"] == asked]})
            case "GET" | "PATCH", order_id:
                return self._one(order_id, request.body)
        return Reply(404, {"message": "No such path"})

    def _create(self, body: Any) -> Reply:
        order = body if isinstance(body, dict) else {}
        missing = [name for name in REQUIRED if not order.get(name)]
        if missing:
            return Reply(422, {"message": f"{', '.join(missing)}: required"})
        order = {"status": "new"} | order | {"id": f"crm-{len(self.orders) + 1}"}
        self.orders.append(order)
        return Reply(201, order)

    def _one(self, order_id: str, changes: Any) -> Reply:
        found = next((order for order in self.orders if order["id"] == order_id), None)
        if found is None:
            return Reply(404, {"message": "No such order"})
        found.update(changes or {})
        return Reply(200, found)
