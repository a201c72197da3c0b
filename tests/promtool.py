"""Prometheus' own checks of what is in ``monitoring``: ``python -m tests.promtool``, in make lint.

promtool comes with Debian's package ``prometheus``, which is installed where that may be. Where it
cannot be had this is said aloud, and in CI it is a failure.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.scrape import PROMTOOL
from tests.servers.provision import install

MONITORING: Final = Path(__file__).parents[1] / "monitoring"
CHECKS: Final = (
    ("check", "config", "prometheus.yml"),
    ("check", "rules", "alerts.yml"),
    ("test", "rules", "alerts.test.yml"),
)


def main() -> int:
    """Run every check; the exit code."""
    why = install([PROMTOOL], print)
    program = PROMTOOL.find()
    if program is None:
        print(f"!!! monitoring/ IS NOT CHECKED: no promtool, {why}", file=sys.stderr)
        return int(os.environ.get("CI", "").lower() not in {"", "0", "false"})
    return max(_run(program, *check) for check in CHECKS)


def _run(program: Path, *check: str) -> int:
    done = subprocess.run(
        [program, *check], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"promtool {' '.join(check)}", done.stdout, done.stderr, sep="\n", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
