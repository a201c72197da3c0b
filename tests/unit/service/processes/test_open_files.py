"""The ingress may hold more connections than a shell allows by default."""

import resource
import subprocess
import sys

import pytest

SHOW = """
import resource
from service.processes.open_files import raise_limit
print(raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "raised"), [(256, 1_000, 1_000), (256, 256, 256), (100, 999, 999)]
)
def test_the_limit_of_open_files_is_raised_to_the_hard_one(
    soft: int, hard: int, raised: int
) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    shown = subprocess.run(
        [sys.executable, "-c", SHOW], preexec_fn=limit, capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == [str(raised), str(raised), str(hard)]
