"""Debian's Chromium, and how it is started."""

from typing import Final

from tests.servers.provision import Program

CHROMIUM: Final = Program("chromium", package="chromium", patterns=("/usr/bin/chromium",))
ARGUMENTS: Final = (
    "--no-sandbox",  # it has nothing to be protected from, and root may not have one
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
