"""Private folders of a process in the temporary directory; those of dead processes are removed.

The name of a folder is a prefix, the id of its process, and a random part.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def private_folder(prefix: str) -> Path:
    """Create a folder for this process, which removes it before it exits.

    Folders with the same prefix whose process is dead are removed first.
    """
    for folder in folders(prefix):
        # After the restart of a container, a dead process may have had the id of this one.
        if not owner_lives(folder, prefix) or _pid(folder, prefix) == os.getpid():
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-"))


def folders(prefix: str) -> Iterator[Path]:
    """Return the folders with this prefix, also those of dead processes."""
    return Path(tempfile.gettempdir()).glob(f"{prefix}*")


def owner_lives(folder: Path, prefix: str) -> bool:
    """Whether the process that created the folder lives."""
    return Path(f"/proc/{_pid(folder, prefix)}").exists()


def _pid(folder: Path, prefix: str) -> int:
    pid = folder.name.removeprefix(prefix).partition("-")[0]
    return int(pid) if pid.isdecimal() else 0
