"""A scheduler whose minutes a test counts. ``python -m tests.faults.ticker FILE``: the file
says which minute it is, and each minute's tick is sent as soon as it is seen to have begun."""

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from actors.housekeeping import sweep_mailboxes

TICKING: Final = "ticking"
"""The line that it prints when it has sent its first tick."""
FIRST: Final = datetime(2026, 11, 23, 10, tzinfo=UTC)
LOOK_S: Final = 0.01


def begin_minute(clock: Path, number: int) -> None:
    """Let it be that minute, for all who look."""
    new = clock.with_suffix(".new")
    new.write_text(str(number))
    os.replace(new, clock)


def main(clock: Path) -> None:
    """Send the tick of each minute when it begins, until the process is killed."""
    sent = None
    while True:
        minute = int(clock.read_text())
        if minute == sent:
            time.sleep(LOOK_S)
            continue
        sweep_mailboxes.send_with_options(scheduled_at=str(FIRST + timedelta(minutes=minute)))
        if sent is None:
            print(TICKING, flush=True)
        sent = minute


if __name__ == "__main__":
    main(Path(sys.argv[1]))
