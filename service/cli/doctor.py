"""``mirt doctor``: checks every dependency, and prints what is wrong and what to do."""

from typing import Any, Final

import typer

from mirt.counting import counted
from mirt.settings import load_settings
from service.admin.doctor import Finding, Severity, diagnose
from service.cli.output import AsJson, emit, hang, say
from service.exit_codes import WRONG

SIGNS: Final = {
    Severity.OK: ("✓", "green"),
    Severity.WARNING: ("!", "yellow"),
    Severity.ERROR: ("✗", "red"),
    Severity.DISABLED: ("·", "dim"),
}


def doctor(*, as_json: AsJson = False) -> None:
    """Check every dependency at once, and say what is wrong and what to do.

    It takes a few seconds at most, even if every server is down. Exit code 1 if something is wrong.
    """
    findings = diagnose(load_settings())
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if as_json:
        emit({"ok": not errors, "findings": [_document(finding) for finding in findings]})
        raise typer.Exit(WRONG if errors else 0)
    for finding in findings:
        _say(finding)
    if errors:
        say("", counted(len(errors), "error"), style="red")
        raise typer.Exit(WRONG)
    say("", "nothing is wrong", style="green")


def _say(finding: Finding) -> None:
    sign, style = SIGNS[finding.severity]
    took = "" if finding.took_ms is None else f" ({finding.took_ms:.0f} ms)"
    hang(f"{sign} {finding.about:<14}", f"{finding.found}{took}", style=style)
    if finding.advice:
        hang(f"  {'':<14}→ ", finding.advice)


def _document(finding: Finding) -> dict[str, Any]:
    return {
        "about": finding.about,
        "verdict": finding.severity,
        "found": finding.found,
        "advice": finding.advice,
        "took_ms": finding.took_ms,
    }
