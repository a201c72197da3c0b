"""``mirt orders``: lists the orders that wait for a person, and confirms or refuses one."""

from collections.abc import Callable
from typing import Annotated

import typer

from service.admin import audit
from service.admin import orders as admin
from service.cli.context import CommandContext, full_access, read_texts
from service.cli.errors import not_found
from service.cli.output import AsJson, emit, hang, moment, say

orders = typer.Typer(
    help="Orders of the agent that a person has to confirm.",
    no_args_is_help=True,
    add_completion=False,
)

Name = Annotated[str, typer.Argument(metavar="ID", help="The id of the order.")]
Texts = Annotated[bool, typer.Option("--texts", help="Show the customer and the address, too.")]
Limit = Annotated[int, typer.Option(min=1, max=1_000, help="Show this many, the oldest first.")]


@orders.command("list")
def list_(*, texts: Texts = False, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List the orders that are not in the CRM until a person confirms them."""
    with read_texts(texts=texts) as context:
        found = admin.to_approve(context, limit=limit)
        if texts:
            audit.record_texts_shown(context, "orders")
    if as_json:
        emit({"orders": [_document(order, texts=texts) for order in found]})
        return
    if not found:
        say("no order waits for a person", style="dim")
    for order in found:
        say(f"{order.external_id}  {order.total:,.2f}", style="bold")
        hang("    ", f"conversation {order.session_id} on {order.platform}, {moment(order.since)}")
        hang("    ", f"waits because of {order.why}")
        for item in order.items:
            hang("    ", item)
        if texts:
            hang("    ", f"{order.customer}; {order.address}")
        hang("    ", f"mirt orders approve {order.external_id}", style="dim")


@orders.command()
def approve(order: Name, *, as_json: AsJson = False) -> None:
    """Let the CRM have an order. It is created once, as any other."""
    _decide(order, "approved", admin.approve, as_json=as_json)


@orders.command()
def refuse(order: Name, *, as_json: AsJson = False) -> None:
    """Refuse an order for good. The customer is told nothing: write to them."""
    _decide(order, "refused", admin.refuse, as_json=as_json)


def _decide(
    order: str, done: str, act: Callable[[CommandContext, str], bool], *, as_json: bool
) -> None:
    with full_access() as context:
        if not act(context, order):
            raise not_found("ID", f"no order {order} waits for a person; mirt orders list")
    if as_json:
        emit({"order": order, "state": done})
    else:
        say(f"{order} {done}")


def _document(order: admin.OrderView, *, texts: bool) -> dict[str, object]:
    about = {"customer": order.customer, "address": order.address} if texts else {}
    return {
        "id": order.external_id,
        "session_id": order.session_id,
        "platform": order.platform,
        "since": order.since,
        "why": order.why,
        "total": str(order.total),
        "items": order.items,
        **about,
    }
