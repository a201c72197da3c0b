"""Watch whether the messages of a channel can arrive, by asking its platform.

A webhook that was removed or replaced causes silence: no message, no error, nothing to see.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Connection

from mirt.channels import Channel, RegisteringChannel
from mirt.clock import Clock, format_duration
from mirt.errors import OutageError, PermanentError, WorkerError
from mirt.store.engine.database import Database
from mirt.store.shop import webhooks as store
from mirt.store.shop.webhooks import WebhookState

MOST_PENDING: Final = 100
"""Updates that may wait on the platform; more mean that we do not take them."""
ERROR_LASTS: Final = timedelta(minutes=5)
CHECK_LASTS: Final = timedelta(minutes=10)
"""Age at which a check says nothing any more. Then the missing scheduler is the problem."""


@dataclass(frozen=True, slots=True)
class WebhookProblem:
    """A reason why messages do not arrive, in a sentence, and the command that mends it."""

    what: str
    command: str


class Webhooks:
    """The watch over the webhooks of all channels.

    ``is_polled`` means that this service fetches the updates itself while no webhook is set.
    """

    def __init__(
        self,
        database: Database,
        channels: Mapping[str, Channel],
        clock: Clock,
        *,
        is_polled: bool,
    ) -> None:
        self._database = database
        self._channels = channels
        self._clock = clock
        self._is_polled = is_polled

    def check(self) -> dict[str, Any]:
        """Ask each platform that can be asked about our webhook, and store the answer.

        A platform that does not answer is stored as such. Returns ``{status: "ok", checked}``, with
        the number of platforms.

        Raises:
            DatabaseError: the answers could not be stored.
        """
        found = {
            name: _ask(channel)
            for name, channel in self._channels.items()
            if isinstance(channel, RegisteringChannel)
        }
        now = self._clock()
        with self._database.transaction() as tx:
            heard = store.last_messages(tx, self._channels.keys(), now=now)
            for name in found.keys() | heard.keys():
                values = {"checked_at": now, **found.get(name, {})}
                if name in heard:
                    values["last_message_at"] = heard[name]
                self._store(tx, name, values)
        return {"status": "ok", "checked": len(found)}

    def expect(self, channel: str, url: str | None) -> None:
        """Store the address that an operator has set; None if none is wanted.

        Raises:
            DatabaseError: it could not be stored.
        """
        with self._database.transaction() as tx:
            self._store(tx, channel, {"expected_url": url, "url": url or ""})

    def report_polling(self, channel: str, failure: str | None) -> None:
        """Store why no update can be fetched; None if they are fetched.

        Raises:
            DatabaseError: it could not be stored.
        """
        with self._database.transaction() as tx:
            self._store(tx, channel, {"polling_failure": failure})

    def _store(self, tx: Connection, channel: str, values: dict[str, Any]) -> None:
        before = store.lock(tx, channel) or WebhookState(channel)
        state = replace(before, is_polled=self._is_polled, **values)
        if state.expected_url is None and state.url and not state.is_polled:
            # It was set by other means than ours: from now on another one is noticed.
            state = replace(state, expected_url=state.url)
        store.write(tx, state)


def public_url(states: Iterable[WebhookState]) -> str | None:
    """Return the public base URL of this service, as far as the address of a webhook tells it."""
    for state in states:
        base, found, _ = (state.expected_url or state.url or "").partition("/webhooks/")
        if found and base:
            return base
    return None


def report_now(stored: WebhookState, channel: RegisteringChannel, now: datetime) -> WebhookState:
    """Return the state of a webhook as its platform reports it now; nothing is stored.

    The stored state knows the address that an operator has set.

    Raises:
        WorkerError: the platform does not report it.
    """
    return replace(stored, checked_at=now, failure=None, **asdict(channel.webhook_report()))


def problems_of(state: WebhookState, now: datetime) -> Iterator[WebhookProblem]:
    """Yield the reasons why messages of this channel do not arrive; none if they do."""
    if state.checked_at is None or now - state.checked_at > CHECK_LASTS:
        return
    platform = state.channel.capitalize()
    if state.failure is not None:
        yield WebhookProblem(f"{platform} refuses us: {state.failure}", "mirt doctor")
    elif state.is_polled and state.polling_failure is not None:
        what = f"{platform} gives us no messages: {state.polling_failure}"
        yield WebhookProblem(what, "mirt doctor")
    yield from _of_address(state, platform)
    if state.url and state.last_error_at is not None and now - state.last_error_at < ERROR_LASTS:
        ago = format_duration((now - state.last_error_at).total_seconds())
        what = f"{platform} could not deliver to {short(state.url)} {ago} ago: {state.last_error}"
        yield WebhookProblem(what, f"mirt {state.channel} info")
    if state.pending > MOST_PENDING:
        what = f"{state.pending:,} updates wait at {platform}"
        yield WebhookProblem(what, f"mirt {state.channel} info")


def _of_address(state: WebhookState, platform: str) -> Iterator[WebhookProblem]:
    set_webhook = f"mirt {state.channel} set-webhook"
    if state.url == "" and not state.is_polled:
        what = f"{platform} sends messages nowhere: no webhook is set"
        yield WebhookProblem(what, f"{set_webhook} {state.expected_url or 'URL'}")
    elif state.url and state.expected_url and state.url != state.expected_url:
        what = (
            f"{platform} sends messages to {short(state.url)}, not to {short(state.expected_url)}"
        )
        yield WebhookProblem(what, f"{set_webhook} {state.expected_url}")
    elif state.url and state.is_polled and not state.expected_url:
        what = f"{platform} sends messages to {short(state.url)}, so none can be fetched here"
        yield WebhookProblem(what, f"mirt {state.channel} delete-webhook")


def short(url: str) -> str:
    """Return an address without its query, which may hold a secret of another service."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _ask(channel: RegisteringChannel) -> dict[str, Any]:
    """Return the columns for the platform's answer; none if it does not answer."""
    try:
        return {**asdict(channel.webhook_report()), "failure": None}
    except PermanentError as refused:
        return {"failure": refused.message}
    except OutageError as outage:
        is_refusal = outage.setting is not None
        return {"failure": f"{outage.code} {outage.reason}"} if is_refusal else {}
    except WorkerError:
        # A platform that is away is another problem, and Telegram keeps the updates for a day.
        return {}
