"""The private directories of this run. None is left when the run is over, however it ended."""

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.servers.guard import guard


def private_directory(name: str, user: str | None = None) -> Path:
    """Make an empty directory that only ``user`` (we ourselves when ``None``) may enter."""
    directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=run_directory()))
    if user is not None:
        shutil.chown(directory, user)
    return directory


@cache
def run_directory() -> Path:
    """The directory that holds them all; its path is short, as names of sockets have to be."""
    directory = Path(tempfile.mkdtemp(prefix="mirt-tests-"))
    directory.chmod(0o711)  # other users may pass through, to a directory of their own
    atexit.register(_remove, directory, guard(removal_of(directory)), os.getpid())
    return directory


def removal_of(directory: Path) -> list[str]:
    """Answer the command that removes it with all that is in it."""
    return ["rm", "-rf", str(directory)]


def _remove(directory: Path, standby: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return  # a fork of ours ends, not we
    standby.kill()
    standby.wait()
    shutil.rmtree(directory)
