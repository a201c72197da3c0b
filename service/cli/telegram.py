"""``mirt telegram``: sets, deletes and shows the webhook to which Telegram sends messages."""

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit

import typer

from mirt.channels import RegisteringChannel
from mirt.errors import DatabaseError
from mirt.observe.printable import printable
from mirt.operators import acting_as
from mirt.runtime import Runtime, open_runtime
from service.admin import audit
from service.cli.context import user_of_this_machine
from service.cli.output import emit, say
from service.processes.startup import read_settings, refuse
from service.processes.webhook_secret import with_webhook_secret

PATH: Final = "/webhooks/telegram"
PORTS: Final = (443, 80, 88, 8443)
"""https://core.telegram.org/bots/api#setwebhook"""

T = TypeVar("T")

telegram = typer.Typer(
    help="Set, delete or show the webhook of the Telegram bot.", no_args_is_help=True
)


@telegram.command("set-webhook")
def set_webhook(
    url: Annotated[
        str,
        typer.Argument(
            help=f"Public https address of the ingress; {PATH} is added to a bare host."
        ),
    ],
) -> None:
    """Make Telegram send messages, and no other updates, to this address, with our secret."""
    address = _check_address(url)

    def register(bot: RegisteringChannel, runtime: Runtime) -> None:
        bot.set_webhook(address)
        _expect(runtime, address)

    _ask(register, make_secret=True)
    say(f"Telegram sends messages to {address}")


@telegram.command("delete-webhook")
def delete_webhook() -> None:
    """Let Telegram keep messages until they are fetched, as mirt up does."""

    def delete(bot: RegisteringChannel, runtime: Runtime) -> str:
        before = str(bot.webhook_info().get("url") or "")
        bot.delete_webhook()
        _expect(runtime, None)
        return before

    before = _ask(delete)
    say(f"Telegram no longer sends messages to {before}" if before else "No webhook was set")


@telegram.command()
def info(
    as_json: Annotated[
        bool, typer.Option("--json", help="The answer of Telegram as JSON.")
    ] = False,
) -> None:
    """Show the webhook as Telegram knows it: its address, pending updates, the last error."""
    found = _ask(lambda bot, _: bot.webhook_info())
    if as_json:
        emit(found)
        return
    for name, value in _lines(found).items():
        say(f"{name:<12}{value}")


def _lines(found: Mapping[str, Any]) -> dict[str, str]:
    error = str(found.get("last_error_message") or "none")
    if at := found.get("last_error_date"):
        error += f" ({datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC)"
    return {
        "webhook": str(found.get("url") or "none: mirt telegram set-webhook URL"),
        "pending": str(found.get("pending_update_count", 0)),
        "last error": error,
        "updates": ", ".join(found.get("allowed_updates") or ["all but a few"]),
    }


def _check_address(url: str) -> str:
    parts = urlsplit(url)
    try:
        port = parts.port or 443
    except ValueError:
        port = 0
    if parts.scheme != "https" or not parts.hostname:
        raise typer.BadParameter("Telegram takes https addresses only, as https://shop.example")
    if port not in PORTS:
        raise typer.BadParameter(f"Telegram calls the ports {', '.join(map(str, PORTS))} only")
    return url if parts.path.strip("/") else f"{url.rstrip('/')}{PATH}"


def _expect(runtime: Runtime, url: str | None) -> None:
    """Store the address, so that another one is noticed later. Without a database none is."""
    database = runtime.database
    if database.is_sqlite and not Path(str(database.url.database)).exists():
        return  # a look at the file would create it
    try:
        runtime.webhooks.expect("telegram", url)
        with acting_as(user_of_this_machine()):
            audit.record(runtime, "set webhook" if url else "delete webhook", target=url)
    except DatabaseError as failed:
        print(f"The address could not be stored: {printable(failed.message)}", file=sys.stderr)


def _ask(question: Callable[[RegisteringChannel, Runtime], T], *, make_secret: bool = False) -> T:
    settings = with_webhook_secret(read_settings(quiet=True), make=make_secret)
    runtime = open_runtime(settings)
    with runtime.connections:
        bot = runtime.channels["telegram"]
        if not isinstance(bot, RegisteringChannel):
            refuse("mirt telegram needs a bot:", "TELEGRAM_BOT_TOKEN is not set")
        return question(bot, runtime)
