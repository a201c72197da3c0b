"""Look for advisories on the locked versions: ``python -m tests.audit``, in lint.

Asks osv.dev, which knows the advisories of PyPI (https://google.github.io/osv.dev/post-v1-querybatch).
Exits with 1 if a version has one. Without a network it says so in one line, and exits with 0.
"""

import json
import os
import re
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Final

LOCK: Final = Path(__file__).parents[1] / "requirements.lock"
OSV: Final = "https://api.osv.dev/v1/querybatch"
WITHIN_S: Final = 5.0
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


def locked(text: str) -> dict[str, str]:
    """Return the version of each package of a lock."""
    return dict(_PIN.findall(text))


def advisories(versions: Mapping[str, str], url: str = OSV) -> dict[str, list[str]]:
    """Return the ids of the advisories on each package that has one.

    Raises:
        OSError: osv.dev does not answer.
        ValueError: its answer is no list of results.
    """
    queries = [
        {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}
        for name, version in versions.items()
    ]
    request = urllib.request.Request(
        url, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:
        results = json.load(answer)["results"]
    found = zip(versions, results, strict=True)
    return {name: [one["id"] for one in r["vulns"]] for name, r in found if r.get("vulns")}


def main() -> int:
    """Print what was found; return the exit code."""
    versions = locked(LOCK.read_text(encoding="utf-8"))
    try:
        found = advisories(versions, os.environ.get("OSV_URL", OSV))
    except (OSError, ValueError, KeyError) as failed:
        print(f"dependencies not audited: osv.dev gave no answer ({type(failed).__name__})")
        return 0
    for name, ids in found.items():
        print(f"{name} {versions[name]}: {', '.join(ids)}, see https://osv.dev")
    print(f"dependencies audited: {len(versions)} versions, {len(found)} with advisories")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
