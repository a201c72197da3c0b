"""A mutation: a text of the code that is replaced by a wrong one."""

import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
LISTS: Final = Path(__file__).parent


class DoesNotApplyError(Exception):
    """The text of a mutation is not in its file exactly once: the code has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One bug; the package's docstring explains the fields."""

    part: str
    """The name of its list."""
    bug: str
    promise: str
    file: str
    text: str
    becomes: str
    killed_by: list[str]
    own_servers: bool = False

    def mutated(self, root: Path) -> str:
        """Return the source of its file below ``root`` with the bug in it.

        Raises:
            DoesNotApplyError: the text is not there exactly once.
        """
        source = (root / self.file).read_text()
        if (found := source.count(self.text)) != 1:
            raise DoesNotApplyError(f"{self.file} has its text {found} times: {self.text!r}")
        return source.replace(self.text, self.becomes)

    @contextmanager
    def applied(self, root: Path) -> Iterator[None]:
        """Put the bug into the copy of the project at ``root`` until the block ends."""
        mutated, file = self.mutated(root), root / self.file
        original, times = file.read_text(), file.stat()
        file.write_text(mutated)
        try:
            yield
        finally:
            file.write_text(original)
            # Python compares the time of the source with that of its compiled file.
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def read_mutations() -> list[Mutation]:
    """Return all mutations, list by list."""
    return [
        Mutation(part=file.stem, **one)
        for file in sorted(LISTS.glob("*.toml"))
        for one in tomllib.loads(file.read_text())["mutation"]
    ]
