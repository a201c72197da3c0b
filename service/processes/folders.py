"""A folder of a process's own, for as long as it lives; what dead ones have left is removed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def private_folder(prefix: str) -> Path:
    """A new folder that carries the id of this process; it is to remove it at its end."""
    for folder in folders(prefix):
        # In a container the pid before a restart may be this one's.
        if not owner_lives(folder, prefix) or _pid(folder, prefix) == os.getpid():
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-"))


def folders(prefix: str) -> Iterator[Path]:
    """Those of all processes of this kind, the dead ones too."""
    return Path(tempfile.gettempdir()).glob(f"{prefix}*")


def owner_lives(folder: Path, prefix: str) -> bool:
    """Whether the process that has made the folder lives."""
    return Path(f"/proc/{_pid(folder, prefix)}").exists()


def _pid(folder: Path, prefix: str) -> int:
    pid = folder.name.removeprefix(prefix).partition("-")[0]
    return int(pid) if pid.isdecimal() else 0
