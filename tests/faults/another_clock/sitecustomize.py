"""Sets the clock of a process: ``CLOCK_AHEAD_S`` says by how many seconds it is ahead.

Python imports this file by itself when its folder is on the path. So a real command runs on a
machine whose clock is off, and knows nothing of it. Steady clocks stay as they are.
"""

import os
import time
from datetime import datetime, timedelta

if seconds := float(os.environ.get("CLOCK_AHEAD_S", "0")):
    from mirt import clock

    _utc_now, _time = clock.utc_now, time.time

    def _another_now() -> datetime:
        return _utc_now() + timedelta(seconds=seconds)

    clock.utc_now = _another_now
    time.time = lambda: _time() + seconds
