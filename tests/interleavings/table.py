"""Print the table of ``docs/guarantees.md``: ``python -m tests.interleavings.table``."""

from tests.interleavings.work import WORKS, Work

PROMISES = ("G1", "G2", "G3", "G4", "G5", "G9")
KINDS = {"commit": "commit", "publish": "publication", "acknowledgement": "acknowledgement"}


def table() -> str:
    """Return the points of each piece of work, and the promises that are checked after each."""
    lines = [
        f"| lost after this step | | {' | '.join(PROMISES)} |",
        f"|---|---|{'---|' * len(PROMISES)}",
    ]
    for name, work in WORKS.items():
        lines += _rows(name, work)
    return "\n".join(lines)


def _rows(name: str, work: Work) -> list[str]:
    return [
        f"| {name}: {_kind(step)} | {meaning} | {' | '.join(_cells(name, step))} |"
        for step, meaning in work.steps.items()
    ]


def _kind(step: str) -> str:
    what = step.partition(": ")[2].rpartition(" ")[0]
    return KINDS.get(what, f"`{what.removeprefix('request ')}`")


def _cells(name: str, step: str) -> list[str]:
    # An effect that was asked for and not settled may come twice, and is recorded as unknown.
    is_told_twice = "/sendMessage" in step
    is_asked_twice = "/chat/completions" in step
    cells = dict.fromkeys(PROMISES, "yes")
    if is_told_twice:
        cells["G5"] = "unknown"
    if is_asked_twice:
        cells["G4"] = "not stored yet"
    if name == "follow-up":
        cells["G4"] = ""
    return list(cells.values())


if __name__ == "__main__":
    print(table())
