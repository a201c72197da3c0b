"""Which dead letters are meant: read from an address or a form, and written into one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from mirt.errors import ErrorCode, PermanentError
from mirt.store.queue.dead_letters import DeadLetterFilter

SPANS: Final = {
    "1h": ("the last hour", timedelta(hours=1)),
    "24h": ("the last 24 hours", timedelta(hours=24)),
    "7d": ("the last 7 days", timedelta(days=7)),
}
FIELDS: Final = ("queue", "task", "code", "conversation", "since")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What somebody chose, as they wrote it."""

    fields: dict[str, str]
    ids: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The list of what was chosen."""
        given = {name: text for name, text in self.fields.items() if text}
        return f"/ops/dead?{urlencode(given)}" if given else "/ops/dead"

    def until(self, now: datetime, until: str = "") -> DeadLetterFilter:
        """The letters that are meant and had died by then; now, if no time is given.

        Raises:
            PermanentError: a field makes no sense.
        """
        by = _time("until", until) if until else now
        if self.ids:
            return DeadLetterFilter(task_ids=self.ids, until=by)
        return DeadLetterFilter(
            queue=self.fields["queue"] or None,
            actor=self.fields["task"] or None,
            error_code=self.fields["code"] or None,
            session_id=self.fields["conversation"] or None,
            since=_since(self.fields["since"], now),
            until=by,
        )

    def in_words(self) -> str:
        """What is meant, for the log and for whoever has to confirm it."""
        if self.ids:
            return "selected"
        given = [f"{name} {text}" for name, text in self.fields.items() if text]
        return ", ".join(given) or "all"


def chosen(read: Callable[[str], str], ids: list[str] | None = None) -> Chosen:
    """What was chosen, by what reads a field.

    Raises:
        PermanentError: a field makes no sense.
    """
    fields = {name: read(name).strip() for name in FIELDS}
    if any("\0" in text for text in [*fields.values(), *(ids or ())]):
        raise PermanentError("a field holds what is no text", ErrorCode.INVALID_INPUT)
    return Chosen(fields, ids or [])


def fixed(what: Chosen, now: datetime) -> Chosen:
    """The same choice with a time instead of a span, so that it does not move while one thinks."""
    since = _since(what.fields["since"], now)
    written = since.isoformat() if since else ""
    return Chosen({**what.fields, "since": written}, what.ids)


def _since(text: str, now: datetime) -> datetime | None:
    if not text:
        return None
    return now - SPANS[text][1] if text in SPANS else _time("since", text)


def _time(name: str, text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise PermanentError(
            f"{name}: must be one of {', '.join(SPANS)}, or a time like 2026-11-24T12:00Z",
            ErrorCode.INVALID_INPUT,
        ) from None
