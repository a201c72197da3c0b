"""Put each bug of the lists into a copy of the project, and see that one of its tests fails.

``python -m tests.mutants -k lease`` takes the bugs whose list, text or file has that word. The exit
code is 1 if a bug lived, if it applies no longer, or if its tests fail without it.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from tests.mutants.mutation import ROOT, DoesNotApplyError, Mutation, read_mutations
from tests.servers import Postgres, RabbitMQ, Redis, Servers, ServerUnavailable, start_servers
from tests.servers.rabbitmq import MANAGEMENT_VARIABLE

NOT_COPIED: Final = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "build", "var"
)
LONGEST_S: Final = 600
FAILED: Final = 1
"""The exit code of pytest when a test has failed; each other one says that something is wrong."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The test that saw a bug, or why none did."""

    killed_by: str | None
    why: str = ""


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    arguments.add_argument("-k", dest="word", default="", help="only bugs with this word")
    arguments.add_argument("--jobs", type=int, default=2, help="copies that are tested at once")
    options = arguments.parse_args()
    chosen = [one for one in read_mutations() if _has(one, options.word)]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [Path(folder) / str(number) for number in range(max(1, options.jobs))]
        for copy in copies:
            shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        _assert_the_copy_runs(copies[0])
        servers = start_servers()
        try:
            return _run_all(chosen, copies, _shared(servers))
        finally:
            servers.close()


def _has(mutation: Mutation, word: str) -> bool:
    about = f"{mutation.part} {mutation.bug} {mutation.file}"
    return word.lower() in about.lower()


def _run_all(chosen: Sequence[Mutation], copies: Sequence[Path], shared: dict[str, str]) -> int:
    free: SimpleQueue[Path] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def in_a_copy(mutation: Mutation) -> Outcome:
        copy = free.get()
        try:
            return _try(mutation, copy, {} if mutation.own_servers else shared)
        finally:
            free.put(copy)

    began, lived = time.monotonic(), []
    with ThreadPoolExecutor(len(copies)) as threads:
        for mutation, outcome in zip(chosen, threads.map(in_a_copy, chosen), strict=True):
            said = (
                f"killed by {outcome.killed_by}" if outcome.killed_by else f"LIVES: {outcome.why}"
            )
            print(f"{mutation.part}: {mutation.bug}\n    {said}", flush=True)
            if outcome.killed_by is None:
                lived.append(mutation)
        unsound = threads.submit(_failing_without_a_bug, chosen, copies[0], shared).result()
    print(f"\n{len(chosen) - len(lived)} of {len(chosen)} killed", end=" ")
    print(f"in {time.monotonic() - began:.0f} s")
    for mutation in lived:
        print(f"LIVES  {mutation.part}: {mutation.bug} ({mutation.file})")
    for test in unsound:
        print(f"FAILS without a bug  {test}")
    return 1 if lived or unsound else 0


def _try(mutation: Mutation, copy: Path, shared: dict[str, str]) -> Outcome:
    try:
        with mutation.applied(copy):
            done = _pytest(copy, mutation.killed_by, shared, "-x")
    except DoesNotApplyError as changed:
        return Outcome(None, str(changed))
    failed = _failed_tests(done.stdout)
    if done.returncode == FAILED and failed:
        return Outcome(failed[0])
    return Outcome(None, f"pytest ended with {done.returncode}\n{done.stdout[-1500:]}")


def _failing_without_a_bug(
    chosen: Sequence[Mutation], copy: Path, shared: dict[str, str]
) -> list[str]:
    """Return the tests that fail on the code as it is: what they say about a bug says nothing."""
    failing = []
    for own_servers in (False, True):
        tests = {test for one in chosen if one.own_servers is own_servers for test in one.killed_by}
        if tests:
            done = _pytest(copy, sorted(tests), {} if own_servers else shared)
            failing += _failed_tests(done.stdout)
            if done.returncode and not failing:
                failing.append(done.stdout[-1500:])
    return failing


def _pytest(
    copy: Path, tests: Sequence[str], shared: dict[str, str], *options: str
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "-q", "-m", "", "-p", "no:cacheprovider"]
    try:
        return subprocess.run(
            [*command, "--no-header", *options, *tests],
            cwd=copy,
            env={**os.environ, **shared, "PYTHONPATH": str(copy)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=LONGEST_S,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, -1, f"not over after {LONGEST_S} s", "")


def _failed_tests(output: str) -> list[str]:
    return re.findall(r"^FAILED (\S+)", output, re.MULTILINE)


def _assert_the_copy_runs(copy: Path) -> None:
    """Assert that a process started for the copy imports the copy, not the installed project."""
    where = "import mirt.errors, sys; sys.stdout.write(mirt.errors.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Path(found).is_relative_to(copy), f"the copy would test {found}"


def _shared(servers: Servers) -> dict[str, str]:
    """Return the variables that name one server of each kind: its start is paid for once."""
    named = {}
    try:
        rabbitmq = servers.get(RabbitMQ)
        named[MANAGEMENT_VARIABLE] = rabbitmq.management.url
        for server in (rabbitmq, servers.get(Redis), servers.get(Postgres)):
            named[server.variable] = server.url
    except ServerUnavailable as unavailable:
        print(unavailable)
    return named


if __name__ == "__main__":
    sys.exit(main())
