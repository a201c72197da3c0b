"""``mirt doctor``: checks every dependency, and prints what is wrong and what to do."""

from typing import Final

import typer

from mirt.settings import load_settings
from service.admin.doctor import Finding, Severity, diagnose
from service.cli.output import AsJson, emit, hang, say
from service.exit_codes import WRONG

SIGNS: Final = {
    Severity.FINE: ("✓", "green"),
    Severity.NOTE: ("!", "yellow"),
    Severity.WRONG: ("✗", "red"),
    Severity.OFF: ("·", "dim"),
}


def doctor(*, as_json: AsJson = False) -> None:
    """Check every dependency at once, and say what is wrong and what to do.

    It takes a few seconds at most, even if every server is down. Exit code 1 if something is wrong.
    """
    findings = diagnose(load_settings())
    wrong = [one for one in findings if one.severity is Severity.WRONG]
    if as_json:
        emit({"fine": not wrong, "findings": findings})
        raise typer.Exit(WRONG if wrong else 0)
    for finding in findings:
        _say(finding)
    if wrong:
        say("", f"{len(wrong)} thing(s) are wrong", style="red")
        raise typer.Exit(WRONG)
    say("", "nothing is wrong", style="green")


def _say(finding: Finding) -> None:
    sign, style = SIGNS[finding.severity]
    took = "" if finding.took_ms is None else f" ({finding.took_ms:.0f} ms)"
    hang(f"{sign} {finding.about:<14}", f"{finding.found}{took}", style=style)
    if finding.advice:
        hang(f"  {'':<14}→ ", finding.advice)
