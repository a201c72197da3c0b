"""Raise the limit of open files: each connection of a client is one."""

import resource
from typing import Final

MOST: Final = 65_536


def raise_limit() -> int:
    """Raise the soft limit of this process and its children, and return it.

    A shell gives 1,024, for programs that call ``select``: as many idle clients would shut out all
    others. The hard limit stays, and what an operator has set above ``MOST``.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
