"""How much memory a process holds."""

import re
from pathlib import Path


def resident_mb(pid: int) -> float:
    """The memory that a process holds, as Linux counts it (``VmRSS``); 0 when it cannot be told."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
