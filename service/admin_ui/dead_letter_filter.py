"""Read the dead letters that an operator chose from an address or a form, and write them back."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from mirt.store.queue.dead_letters import DeadLetterFilter
from service.admin.dead_letters import FIELDS, parse_filter

SPANS: Final = {"1h": "the last hour", "24h": "the last 24 hours", "7d": "the last 7 days"}
"""Values of the field ``since`` that the form offers; an address may have any other."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Dead letters that an operator chose: by the text of each field, or by their task ids."""

    fields: dict[str, str]
    ids: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Address of the list with these fields as its filter."""
        given = self._given()
        return f"/ops/dead?{urlencode(given)}" if given else "/ops/dead"

    def as_filter(self, now: datetime, until: str = "") -> DeadLetterFilter:
        """Return the filter of dead letters from before ``until``; ``now`` if it is empty.

        Raises:
            PermanentError: a field is invalid; as ``parse_filter``.
        """
        given = {} if self.ids else self._given()
        if until:
            given["until"] = until
        return parse_filter(given, now, task_ids=self.ids)

    def with_fixed_since(self, now: datetime) -> "Selection":
        """Return the same selection with a time instead of an age, so that it does not move.

        Raises:
            PermanentError: ``since`` is invalid.
        """
        if not self.fields["since"]:
            return self
        since = parse_filter({"since": self.fields["since"]}, now).since
        fixed = since.isoformat() if since else ""
        return replace(self, fields={**self.fields, "since": fixed})

    def in_words(self) -> str:
        """Describe the selection, for the log and for the operator who has to confirm it."""
        if self.ids:
            return "selected"
        return ", ".join(f"{name} {text}" for name, text in self._given().items()) or "all"

    def _given(self) -> dict[str, str]:
        return {name: text for name, text in self.fields.items() if text}


def read_selection(read: Callable[[str], str], ids: list[str] | None = None) -> Selection:
    """Return the selection; ``read`` returns the text of a field, empty if it is not given."""
    return Selection({name: read(name).strip() for name in FIELDS}, ids or [])
