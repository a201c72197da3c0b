"""Find, replay and discard dead letters."""

from collections.abc import Sequence
from dataclasses import dataclass

from mirt.store.queue import dead_letters as store
from mirt.store.queue.dead_letters import DeadLetter, DeadLetterFilter
from service.admin.context import AdminContext


@dataclass(frozen=True, slots=True)
class FoundDeadLetters:
    """A page of the dead letters that match, the latest first, and the total number that match."""

    total: int
    letters: Sequence[DeadLetter]


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
    with context.database.transaction() as tx:
        return store.discard_dead(tx, which, now=context.clock())
