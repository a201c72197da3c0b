"""Measures the memory of a process."""

import re
from pathlib import Path


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MiB (Linux ``VmRSS``); 0 if it is unknown."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
