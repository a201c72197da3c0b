"""What a shell completes: the names that the policy table and the error codes know."""

from collections.abc import Iterator


def queues(incomplete: str) -> Iterator[tuple[str, str]]:
    """Queues, and what they are for."""
    from middleware.policy import QUEUES

    yield from ((q.name, q.purpose) for q in QUEUES.values() if q.name.startswith(incomplete))


def tasks(incomplete: str) -> Iterator[tuple[str, str]]:
    """Tasks, and their queues."""
    from middleware.policy import TASKS

    yield from ((t.name, t.queue) for t in TASKS.values() if t.name.startswith(incomplete))


def codes(incomplete: str) -> Iterator[str]:
    """Error codes of dead letters."""
    from mirt.errors import ErrorCode

    yield from (code.value for code in ErrorCode if code.startswith(incomplete))
