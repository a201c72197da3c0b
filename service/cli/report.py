"""``mirt report``: the figures of a day of the shop, as on the page *Today*."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from mirt.clock import format_duration
from mirt.counting import counted
from service.cli.context import read_only
from service.cli.output import AsJson, emit, say

if TYPE_CHECKING:
    from service.admin.today import Day

DayOption = Annotated[
    str, typer.Option("--day", help="A day like 2026-03-01 in the shop's zone; today by default.")
]


def report(*, day: DayOption = "", as_json: AsJson = False) -> None:
    """Show conversations, replies, orders, tokens and their cost of a day in the shop's zone."""
    from service.admin.today import day_of, read_day

    with read_only() as context:
        found = day_of(context, context.settings, read_day(day, context, context.settings))
        slo_s = context.settings.reply_slo_seconds
    if as_json:
        emit(found)
        return
    say(f"{found.day:%A, %-d %B %Y} in {found.zone}{'' if found.is_over else ', so far'}")
    for title, text in _lines(found, slo_s):
        say(f"  {title:<15} {text}")


def _lines(day: "Day", slo_s: float) -> Iterator[tuple[str, str]]:
    yield "conversations", f"{day.conversations:,}, {day.handed_over:,} with a person"
    yield (
        "messages",
        f"{day.messages:,}: {day.answered:,} answered, {day.apologised:,} got an apology, "
        f"{day.failed:,} failed, {day.cancelled:,} cancelled",
    )
    if day.reply_s is not None:
        waits = (f"p{share} {format_duration(waited)}" for share, waited in day.reply_s.items())
        yield "first reply", ", ".join(waits)
    if day.slo_share is not None:
        within = f"{100 * day.slo_share:.1f} % within {format_duration(slo_s)}"
        yield "goal", f"{within}, burn rate {day.burn_rate:.1f}"
    troubled = f", {day.orders_troubled:,} refused, failed or unknown"
    yield "orders", f"{day.orders:,}, {day.orders_sum:,.2f} in all{troubled}"
    yield "follow-ups", f"{day.followups_sent:,} sent, {day.followups_answered:,} brought an answer"
    for one in day.tokens:
        cost = "no price in LLM_PRICES" if one.cost is None else f"${one.cost:.4f}"
        yield (
            "tokens",
            f"{one.model}: {counted(one.turns, 'answer')}, {one.prompt:,} + {one.completion:,}, "
            f"{cost}",
        )
