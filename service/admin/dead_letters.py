"""Dead letters, for those who decide about them."""

from collections.abc import Sequence
from dataclasses import dataclass

from mirt.store.queue import dead_letters as store
from mirt.store.queue.dead_letters import Choice, DeadLetter
from service.admin.context import World


@dataclass(frozen=True, slots=True)
class Letters:
    """Some of the dead letters that are meant, the latest first, and how many there are in all."""

    total: int
    letters: Sequence[DeadLetter]


def find(world: World, choice: Choice, *, limit: int, offset: int = 0) -> Letters:
    """Those that are meant; without their tracebacks, which ``show`` has.

    Raises:
        DatabaseError: it cannot be asked.
    """
    with world.database.transaction() as tx:
        total = store.count_dead(tx, choice)
        return Letters(total, store.list_dead(tx, choice, limit=limit, offset=offset))


def show(world: World, task_id: str) -> DeadLetter | None:
    """All of one of them."""
    with world.database.transaction() as tx:
        return next(iter(store.list_dead(tx, Choice(task_ids=[task_id]), limit=1)), None)


def replay(world: World, choice: Choice) -> int:
    """Have those that are meant run once more, each exactly once; how many there were."""
    # Looking at letters needs no broker.
    from broker.task import declared
    from middleware.dead_letters import replay as replay_letters

    return replay_letters(declared.bound, world.database, choice, world.clock)


def discard(world: World, choice: Choice) -> int:
    """Forget those that are meant for good; how many there were."""
    with world.database.transaction() as tx:
        return store.discard_dead(tx, choice, now=world.clock())
