"""``mirt audit``: shows what operators did, on the page and by commands."""

from typing import Annotated

import typer

from service.admin.audit import latest
from service.cli.context import read_only
from service.cli.output import AsJson, Column, Row, emit, moment, table

Limit = Annotated[int, typer.Option(min=1, max=10_000, help="Show this many, the latest first.")]


def audit(*, limit: Limit = 50, as_json: AsJson = False) -> None:
    """Show who did what, when, on what, and with which outcome; the latest first."""
    with read_only() as context:
        acts = latest(context, limit=limit)
    if as_json:
        emit({"acts": acts})
        return
    columns = (
        Column("AT (UTC)"),
        Column("WHO"),
        Column("BY", spare=2),
        Column("ACT"),
        Column("COUNT", "right", spare=1),
        Column("OUTCOME", spare=3),
        Column("ON", cut_to=24),
    )
    rows: list[Row] = [
        (
            (
                moment(one.at),
                one.operator,
                one.door,
                one.act,
                one.count,
                one.outcome.value,
                one.target,
            ),
            None,
        )
        for one in acts
    ]
    table(columns, rows, empty="nobody has done anything yet")
