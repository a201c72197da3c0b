"""The webhook of a shop's staff."""

from typing import Any

from tests.fakes.traffic import Reply, Request


class StaffApi:
    """Keeps what the staff was told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def answer(self, request: Request) -> Reply:
        """Take one document."""
        self.told.append(request.body)
        return Reply(200, {"ok": True})
