"""No fencing: who has lost its lease to another writes all the same."""

from typing import Any

from mirt.store.queue import leases
from mirt.store.queue.leases import Claim
from mirt.store.tables import tasks


def _is_anybodys(claim: Claim) -> Any:
    return tasks.c.id == claim.task_id


leases._is_held = _is_anybodys
