"""Record what a platform tells about customers who have blocked us, or unblocked us.

A refused delivery tells it too: see ``mirt.deliveries``.
"""

from datetime import timedelta
from typing import Final

import structlog

from mirt.channels import ReachabilityChange
from mirt.store.engine.database import Database
from mirt.store.shop.reachability import change_reachability

log = structlog.get_logger(__name__)

_PRECISION: Final = timedelta(seconds=1)
"""Platforms tell times in whole seconds, rounded down."""


class Reachability:
    """The recorder of blocks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, change: ReachabilityChange) -> None:
        """Record a change. A customer who has written since then does not change.

        A second copy of the change changes nothing.

        Raises:
            DatabaseError: the change could not be stored.
        """
        ids = [change.session_id, f"{change.platform}:{change.session_id}"]
        with self._database.transaction() as tx:
            change_reachability(
                tx,
                ids,
                change.platform,
                unreachable_since=None if change.is_reachable else change.at,
                silent_since=change.at + _PRECISION,
            )
        log.info(
            "reachability_changed", session_id=change.session_id, reachable=change.is_reachable
        )
