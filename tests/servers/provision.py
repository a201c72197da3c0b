"""Finds the machine's own server programs, and installs Debian's packages where it may.

Only missing packages are installed, and only by root on a system with ``apt-get``. The system
services that come with them are not started: a ``policy-rc.d`` forbids it meanwhile, as the Debian
policy provides (https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt).
"""

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOCK = Path("/var/lock/mirt-test-servers.lock")
POLICY = Path("/usr/sbin/policy-rc.d")
FORBID_STARTING = "#!/bin/sh\n# Made by MIRT's tests while they install packages.\nexit 101\n"
INSTALL_TIMEOUT = 900
"""Seconds. Erlang is about 40 MB to fetch."""


@dataclass(frozen=True)
class Program:
    """A server's program: where it may lie, and the Debian package that brings it.

    Absolute patterns are tried in order, and within one the highest version wins; then ``PATH``.
    """

    name: str
    package: str
    patterns: tuple[str, ...] = ()
    not_in: tuple[str, ...] = ()
    """Directories whose program of this name is something else."""

    def find(self) -> Path | None:
        """Answer the program, or ``None`` when the machine has none."""
        for pattern in self.patterns:
            found = [
                path for path in Path("/").glob(pattern.lstrip("/")) if os.access(path, os.X_OK)
            ]
            if found:
                return max(found, key=_version)
        elsewhere = [d for d in os.get_exec_path() if d not in self.not_in]
        on_path = shutil.which(self.name, path=os.pathsep.join(elsewhere))
        return Path(on_path) if on_path else None


def install(programs: list[Program], announce: Callable[[str], None]) -> str | None:
    """Install what is missing of ``programs``. Two runs at once take turns.

    Answers why it could not be done, or ``None`` when nothing is missing (any more).
    """
    if all(program.find() for program in programs):
        return None
    if os.geteuid() != 0:
        return "not root, so Debian's packages cannot be installed"
    if shutil.which("apt-get") is None:
        return "there is no apt-get"
    with _one_at_a_time():
        packages = [program.package for program in programs if program.find() is None]
        if not packages:
            return None
        announce(f"installing {' '.join(packages)}, which the tests need")
        with _services_stay_off():
            return _apt_install(packages)


def _apt_install(packages: list[str]) -> str | None:
    # A failed update is no verdict: one foreign source that is down fails it for all.
    updated = _apt_get("update")
    installed = _apt_get("install", "--yes", "--no-install-recommends", *packages)
    if installed.returncode == 0:
        return None
    last_words = (updated.stderr + installed.stderr).strip().splitlines()[-3:]
    return f"apt-get could not install {' '.join(packages)}: {' / '.join(last_words)}"


def _apt_get(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=300", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT,
        check=False,
    )


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _services_stay_off() -> Iterator[None]:
    try:
        policy = POLICY.open("x")
    except FileExistsError:
        # The administrator has decided already. We depend on no service either way.
        yield
        return
    try:
        with policy:
            policy.write(FORBID_STARTING)
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink()


def _version(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(path))]
