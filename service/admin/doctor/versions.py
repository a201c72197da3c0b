"""Compare the versions of servers with those that the service is tested on."""

import re
from collections.abc import Iterator
from typing import Final

from service.admin.doctor.finding import Finding, Severity

Version = tuple[int, ...]

SUPPORTED: Final[dict[str, tuple[Version, Version]]] = {
    "PostgreSQL": ((15,), (17,)),
    "RabbitMQ": ((3, 10), (4,)),
    "Redis": ((7,), (8,)),
}
"""The oldest and the newest version that the service supports, of each server."""


def check_version(server: str, version: str) -> Iterator[Finding]:
    """Warn about a version that is not supported; say nothing about one that is.

    >>> [finding.found for finding in check_version("RabbitMQ", "3.8.2")]
    ['RabbitMQ 3.8.2 is not supported: 3.10 to 4 is']
    """
    limits = SUPPORTED.get(server)
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if limits is None or not found:
        return
    oldest, newest = limits
    if found[: len(oldest)] < oldest or found[: len(newest)] > newest:
        yield Finding(
            "versions",
            Severity.WARNING,
            f"{server} {version} is not supported: {_text(oldest)} to {_text(newest)} is",
            "upgrade the server, or watch the service closely: nobody has tested this",
        )


def _text(version: Version) -> str:
    return ".".join(map(str, version))
