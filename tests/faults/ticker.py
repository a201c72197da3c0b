"""A scheduler in a hurry: for it every second is a minute. ``python -m tests.faults.ticker``
with the second since the epoch at which its first minute begins."""

import itertools
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from actors.housekeeping import sweep_mailboxes

MINUTE_S: Final = 1.0
TICKING: Final = "ticking"
"""What it prints when it has sent its first tick."""
FIRST: Final = datetime(2026, 11, 23, 10, tzinfo=UTC)


def main(begun: float) -> None:
    """Send the tick of each minute when it begins, until somebody kills it."""
    for turn in itertools.count():
        minute = int((time.time() - begun) / MINUTE_S)
        sweep_mailboxes.send_with_options(scheduled_at=str(FIRST + timedelta(minutes=minute)))
        if turn == 0:
            print(TICKING, flush=True)
        time.sleep(max(0.0, begun + (minute + 1) * MINUTE_S - time.time()))


if __name__ == "__main__":
    main(float(sys.argv[1]))
