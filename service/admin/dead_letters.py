"""Find, replay and discard dead letters, chosen by one filter for command line and page."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from middleware.policy import QUEUES, TASKS
from mirt.errors import ErrorCode, PermanentError
from mirt.store.queue import dead_letters as store
from mirt.store.queue.audit import record_act
from mirt.store.queue.dead_letters import DeadLetter, DeadLetterFilter, DeadLetterGroup
from service.admin.context import AdminContext

FIELDS: Final = ("queue", "task", "code", "conversation", "since", "cause", "argument")
"""The fields by which an operator chooses dead letters; ``parse_filter`` knows also ``until``."""

_KNOWN: Final[Mapping[str, Collection[str]]] = {
    "queue": QUEUES,
    "task": TASKS,
    "code": frozenset(ErrorCode),
}
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_EXAMPLE_TIME: Final = "a time like 2026-03-01T12:00Z"


def parse_filter(
    fields: Mapping[str, str], now: datetime, *, task_ids: Iterable[str] = ()
) -> DeadLetterFilter:
    """Return the filter of the given fields; dead letters of after ``until`` (or now) never match.

    ``since`` is an age (``30m``, ``24h``, ``7d``) or an ISO time, in UTC if it has no zone.
    ``until`` is an ISO time.

        parse_filter({"queue": "llm", "since": "24h"}, clock())

    Raises:
        PermanentError: INVALID_INPUT, ``field: problem``. A field is empty, is no time, or names
            an unknown queue, task or code.
    """
    ids = list(dict.fromkeys(task_ids))
    for name, text in [*fields.items(), *(("id", task_id) for task_id in ids)]:
        if not text or "\0" in text:
            raise _invalid(name, "must not be empty or contain NUL")
    values = {**fields}
    if "code" in values:
        values["code"] = values["code"].upper()
    for name, known in _KNOWN.items():
        if name in values and values[name] not in known:
            there_are = ", ".join(sorted(known))
            raise _invalid(name, f"there is no {values[name]}; there are {there_are}")
    return DeadLetterFilter(
        task_ids=ids or None,
        queue=values.get("queue"),
        actor=values.get("task"),
        error_code=values.get("code"),
        session_id=values.get("conversation"),
        cause=values.get("cause"),
        argument=values.get("argument"),
        since=_since(values["since"], now) if "since" in values else None,
        until=_time("until", values["until"], _EXAMPLE_TIME) if "until" in values else now,
    )


def _since(text: str, now: datetime) -> datetime:
    expected = f"an age like 30m, 24h, 7d, or {_EXAMPLE_TIME}"
    age = re.fullmatch(r"(\d{1,6})([smhdw])", text, re.ASCII)
    if age is None:
        return _time("since", text, expected)
    try:
        return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
    except OverflowError:
        raise _invalid("since", f"must be {expected}") from None


def _time(name: str, text: str, expected: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise _invalid(name, f"must be {expected}") from None


def _invalid(field: str, problem: str) -> PermanentError:
    return PermanentError(f"{field}: {problem}", ErrorCode.INVALID_INPUT)


@dataclass(frozen=True, slots=True)
class FoundDeadLetters:
    """A page of the dead letters that match, the latest first, and the total number that match."""

    total: int
    rows: Sequence[DeadLetter]


def find(
    context: AdminContext, which: DeadLetterFilter, *, limit: int, offset: int = 0
) -> FoundDeadLetters:
    """Return one page of the dead letters that match.

    Raises:
        DatabaseError: the database cannot be read.
    """
    with context.database.transaction() as tx:
        total = store.count_dead(tx, which)
        return FoundDeadLetters(total, store.list_dead(tx, which, limit=limit, offset=offset))


def groups(
    context: AdminContext, which: DeadLetterFilter, *, limit: int = 100
) -> Sequence[DeadLetterGroup]:
    """Return the groups of the dead letters that match, by code, task and cause; the largest first.

    Raises:
        DatabaseError: the database cannot be read.
    """
    with context.database.transaction() as tx:
        return store.group_dead(tx, which, limit=limit)


def show(context: AdminContext, task_id: str) -> DeadLetter | None:
    """Return the dead letter of a task; None if there is none."""
    with context.database.transaction() as tx:
        return store.find_dead(tx, task_id)


def replay(context: AdminContext, which: DeadLetterFilter) -> int:
    """Run the tasks of these dead letters once more, each exactly once; return their number."""
    # Imported here: reading dead letters needs no broker.
    from broker.task import registry
    from middleware.dead_letters import replay as replay_dead_letters

    return replay_dead_letters(registry.broker, context.database, which, context.clock)


def discard(context: AdminContext, which: DeadLetterFilter) -> int:
    """Delete these dead letters for good; return their number."""
    now = context.clock()
    with context.database.transaction() as tx:
        count = store.discard_dead(tx, which, now=now)
        record_act(
            tx,
            "discard",
            target=which.in_words(),
            session_id=which.session_id,
            count=count,
            now=now,
        )
    return count
