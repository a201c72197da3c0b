"""Commands that run when this process dies, however it dies."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

KEEPER = Path(__file__).with_name("subreaper.py")


def keeper(afterwards: Sequence[str], user: str | None = None) -> list[str]:
    """Answer how to run a command, to be appended, so that it dies with us; see ``subreaper.py``.

    When we die, ``afterwards`` is run. Without a command that is all it does.
    """
    owner = str(os.getpid())
    return [sys.executable, "-I", str(KEEPER), owner, user or "", shlex.join(afterwards), "--"]


def guard(afterwards: Sequence[str]) -> subprocess.Popen[bytes]:
    """Have ``afterwards`` run when we die. Killing the process that this answers calls it off."""
    return subprocess.Popen(
        keeper(afterwards),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
