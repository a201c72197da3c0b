"""The report of a run: tables for the terminal, which are Markdown, and JSON for machines."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.chaos.run import Run
from tests.chaos.storm import Suffered
from tests.chaos.verdict import Verdict, first_answers, waits_of

NAMED: Final = 12
"""How many ids of a list are named; the JSON has them all."""
LONGEST: Final = 110


def markdown(run: Run, verdict: Verdict) -> str:
    """The whole report."""
    options = run.options
    bug = f", sabotage {options.sabotage}" if options.sabotage else ""
    title = (
        f"# Chaos: {options.messages} messages, {options.chats} chats, {options.faults} faults of "
        f"{len({one.planned.kind for one in run.suffered})} kinds, seed {options.seed}{bug}: "
        f"{'kept' if verdict.kept else 'BROKEN'}{', FAULTS MISSING' if run.missing else ''}"
    )
    parts = [title, _table(("what", "number", "which"), _counted(run, verdict))]
    header = ("at s", "fault", "lasted s", "recovered s", "next reply s", "slowest answer s")
    parts.append(_table(header, _faults(run)))
    parts += [f"- {line}" for line in run.unexpected]
    return "\n\n".join(parts) + "\n"


def write(run: Run, verdict: Verdict, folder: Path) -> None:
    """Leave ``report.md`` and ``report.json`` in the folder."""
    (folder / "report.md").write_text(markdown(run, verdict))
    everything = {
        "options": asdict(run.options),
        "kept": verdict.kept,
        "verdict": asdict(verdict),
        "answers": run.answers,
        "faults": [asdict(one) for one in run.suffered],
        "dead_letters": [asdict(one) for one in run.facts.dead],
        "unexpected": list(run.unexpected),
        "took_s": run.took_s,
    }
    text = json.dumps(everything, ensure_ascii=False, indent=1)
    (folder / "report.json").write_text(text)


def _counted(run: Run, verdict: Verdict) -> Iterable[tuple[str, str, str]]:
    answers = ", ".join(f"{what}: {times}" for what, times in sorted(run.answers.items()))
    yield "messages written", str(verdict.sent), ""
    yield "requests", str(sum(run.answers.values())), answers
    yield "accepted (2xx)", str(verdict.accepted), ""
    yield "answered", str(verdict.answered), ""
    yield _named("never accepted", verdict.not_accepted)
    yield _named("**lost**", verdict.lost)
    yield _named("**doubled**, not recorded", verdict.doubled)
    yield "doubled, recorded as unknown", str(verdict.doubled_known), ""
    yield _named("**out of order**", verdict.out_of_order)
    yield _named("failed for good", verdict.failed)
    yield _named("… not by exhausted retries", verdict.failed_unexplained)
    yield _named("… answered, not delivered", verdict.undelivered)
    yield _named("… without an apology, chats", verdict.silent)
    yield _named("dead without need", verdict.dead_without_need)
    why = Counter(
        f"{one.error_code} after {one.attempts}: {one.exception}" for one in run.facts.dead
    )
    for reason, times in why.most_common():
        yield "dead letters", str(times), reason.splitlines()[0].replace("|", "/")[:LONGEST]
    yield "turns", str(verdict.turns), ""
    yield "completions", str(verdict.completions), f"{verdict.asked_again} asked again, not stored"
    yield _named("paid twice", verdict.paid_twice)
    yield (
        "orders accepted",
        str(len(run.facts.ordered)),
        f"{sum(run.facts.orders_unknown.values())} requests unknown",
    )
    yield _named("orders lost", verdict.orders_lost)
    yield _named("orders created twice", verdict.orders_doubled)
    yield "follow-ups accepted", str(len(run.facts.followups)), ""
    yield "conversations handed over", str(len(run.facts.handed_over)), ""
    yield _named("**answered by bot and person**", verdict.two_voices)
    yield _named("a person's text not heard", verdict.unheard)
    yield _named("customers forgotten, and found", verdict.remembered)
    yield _named("visits not finished", verdict.unfinished)
    yield _named("faults that did not happen", run.missing)
    yield "answer, median", f"{verdict.median_s:.2f} s", ""
    yield "answer, slowest", f"{verdict.slowest_s:.2f} s", ""
    yield "the run", f"{run.took_s:.0f} s", ""


def _named(what: str, names: Sequence[str]) -> tuple[str, str, str]:
    more = " …" if len(names) > NAMED else ""
    return what, str(len(names)), ", ".join(names[:NAMED]) + more


def _faults(run: Run) -> Iterable[tuple[str, ...]]:
    first = first_answers(run.facts.told)
    waits = waits_of(run.facts, first)
    started = min((one.began_at - one.planned.at_s for one in run.suffered), default=0.0)
    for one in run.suffered:
        recovered = "–" if one.recovered_s is None else f"{one.recovered_s:.1f}"
        after = [told.at for told in run.facts.told if told.at > one.ended_at]
        yield (
            f"{one.began_at - started:.0f}",
            one.planned.kind,
            f"{one.ended_at - one.began_at:.1f}",
            one.error or recovered,
            f"{min(after) - one.ended_at:.1f}" if after else "none came",
            f"{max(_during(one, run, waits), default=0.0):.1f}",
        )


def _during(one: Suffered, run: Run, waits: dict[str, float]) -> Iterable[float]:
    """How long the messages waited that were accepted while it lasted or shortly before."""
    for name, waited_s in waits.items():
        accepted_at = run.facts.sent[name].accepted_at
        if accepted_at is not None and accepted_at <= one.ended_at < accepted_at + waited_s + 1:
            yield waited_s


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    )
