"""Keep the SQLite file of the embedded mode from other users: it has all customers' words."""

import os
from contextlib import suppress
from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Create the folder (0700). One that exists stays: it may be the home of other things."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def make_private(file: Path) -> None:
    """Create the file (0600), or close an old file of ours to other users.

    SQLite gives the files beside its database the rights of the database, and says itself why it
    cannot open one. An existing file is not opened here: to close it would end all locks that this
    process holds on it, and the next process would delete the write-ahead log of this one.
    """
    with suppress(OSError):
        try:
            status = file.stat()
        except FileNotFoundError:
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            return
        if status.st_uid == os.geteuid() and status.st_mode & 0o077:
            file.chmod(0o600)
