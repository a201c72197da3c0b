"""Dead letters, for those who decide about them."""

from collections.abc import Sequence
from dataclasses import dataclass

from mirt.store.queue import dead_letters as store
from mirt.store.queue.dead_letters import DeadLetter, DeadLetterFilter
from service.admin.context import AdminContext


@dataclass(frozen=True, slots=True)
class Letters:
    """Some of the dead letters that are meant, the latest first, and how many there are in all."""

    total: int
    letters: Sequence[DeadLetter]


def find(
    context: AdminContext, choice: DeadLetterFilter, *, limit: int, offset: int = 0
) -> Letters:
    """Those that are meant; without their tracebacks, which ``show`` has.

    Raises:
        DatabaseError: it cannot be asked.
    """
    with context.database.transaction() as tx:
        total = store.count_dead(tx, choice)
        return Letters(total, store.list_dead(tx, choice, limit=limit, offset=offset))


def show(context: AdminContext, task_id: str) -> DeadLetter | None:
    """All of one of them."""
    with context.database.transaction() as tx:
        return next(iter(store.list_dead(tx, DeadLetterFilter(task_ids=[task_id]), limit=1)), None)


def replay(context: AdminContext, choice: DeadLetterFilter) -> int:
    """Have those that are meant run once more, each exactly once; how many there were."""
    # Looking at letters needs no broker.
    from broker.task import registry
    from middleware.dead_letters import replay as replay_letters

    return replay_letters(registry.broker, context.database, choice, context.clock)


def discard(context: AdminContext, choice: DeadLetterFilter) -> int:
    """Forget those that are meant for good; how many there were."""
    with context.database.transaction() as tx:
        return store.discard_dead(tx, choice, now=context.clock())
