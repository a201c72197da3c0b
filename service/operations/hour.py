"""The last hour, minute by minute."""

from datetime import timedelta
from typing import Final

from mirt.store.reports import overview
from mirt.store.reports.overview import Minute
from service.operations.world import World

MINUTES: Final = 60


def hour(world: World) -> list[Minute]:
    """What was answered and what failed in each of the last 60 minutes, the oldest first.

    Raises:
        DatabaseError: it cannot be asked.
    """
    now = world.clock().replace(second=0, microsecond=0)
    first = now - timedelta(minutes=MINUTES - 1)
    with world.database.transaction() as tx:
        found = {minute.at: minute for minute in overview.minutes(tx, since=first)}
    at = (first + timedelta(minutes=n) for n in range(MINUTES))
    return [found.get(minute) or Minute(minute) for minute in at]
