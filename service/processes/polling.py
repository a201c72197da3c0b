"""Fetch the updates of the Telegram bot and post each to the ingress of this machine.

Telegram sends webhooks to public HTTPS addresses only, which a developer's machine does not have.
So ``mirt up`` fetches the updates itself while no webhook is set. A fetched update goes the way of
a webhook, through the same address, and so has the same promises. The next request confirms it to
Telegram, after the ingress has answered 2xx. A crash before that repeats the update, and the
ingress finds the duplicate.
"""

import http.client
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from pydantic import SecretStr

from mirt.channels import PollableChannel, PolledUpdate
from mirt.errors import OutageError, PermanentError, RateLimitError, WorkerError

log = structlog.get_logger(__name__)

LONG_POLL_S: Final = 25.0
"""Seconds that Telegram holds a request while there is no update."""
LOOK_AGAIN_S: Final = 30.0
"""Seconds between two looks whether the webhook is still set."""
LONGEST_PAUSE_S: Final = 60.0
ANSWER_WITHIN_S: Final = 10.0
REFUSALS: Final = frozenset({400, 413, 415, 422})
"""Answers of the ingress to an update that it will never take."""
BUSY: Final = frozenset({408, 429, 503})
"""Answers of the ingress to an update that it may take later."""
ATTEMPTS: Final = 5
"""Times that an update is posted which the ingress answers with an unexpected error."""
PATH: Final = "/webhooks/telegram"


@dataclass(frozen=True, slots=True)
class Arrival:
    """How messages come: fetched if both are None, sent to ``webhook``, or not: ``failure``."""

    webhook: str | None = None
    failure: str | None = None

    def in_words(self) -> str:
        """Say how messages come, and what to do if they do not."""
        if self.webhook:
            return (
                f"come by webhook: {self.webhook}\n"
                "            to receive them here instead: .venv/bin/mirt telegram delete-webhook"
            )
        if self.failure:
            return f"do not come: {self.failure}; MIRT goes on trying"
        return "come by polling, since no webhook is set"


Report = Callable[[Arrival], None]
"""A function that is told each change of how messages come."""


class LocalIngress:
    """The ingress of this machine, called as Telegram calls it."""

    def __init__(self, host: str, port: int, secret: SecretStr | None) -> None:
        self._address = (host, port)
        self._secret = secret

    def post(self, update: Mapping[str, Any]) -> tuple[int, float]:
        """Post an update; return the status, and the seconds to wait before it is posted again.

        Raises:
            OSError, http.client.HTTPException: there is no answer.
        """
        headers = {"Content-Type": "application/json"}
        if self._secret is not None:
            headers["X-Telegram-Bot-Api-Secret-Token"] = self._secret.get_secret_value()
        connection = http.client.HTTPConnection(*self._address, timeout=ANSWER_WITHIN_S)
        try:
            connection.request("POST", PATH, json.dumps(update).encode(), headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status, _seconds(answer.headers.get("Retry-After"))
        finally:
            connection.close()


class UpdatePoller:
    """A thread that fetches updates while no webhook is set.

    A webhook that is set is never deleted: Telegram sends the updates there. The poller looks again
    every ``LOOK_AGAIN_S``.
    """

    def __init__(self, bot: PollableChannel, ingress: LocalIngress, report: Report) -> None:
        """Ask Telegram once, for five seconds at most; ``report`` is told what changes later."""
        self._bot = bot
        self._ingress = ingress
        self._report = report
        self.arrival, self.name = _look(bot)
        self._failures = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="polling", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Fetch no more. A request that Telegram holds is left alone: it confirms nothing new."""
        self._stopping.set()

    def join(self) -> None:
        """Wait until the thread has ended: for the request that Telegram holds, at most."""
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if url := self._bot.webhook_report().url:
                    self._say(Arrival(webhook=url))
                    self._stopping.wait(LOOK_AGAIN_S)
                else:
                    self._fetch()
            except WorkerError as failed:
                self._failures += 1
                # A single lost answer is everyday life of a long poll.
                if self._failures > 1 or isinstance(failed, PermanentError | OutageError):
                    self._say(Arrival(failure=failed.message))
                asked = failed.retry_after if isinstance(failed, RateLimitError) else 0.0
                self._stopping.wait(min(max(asked, 2.0**self._failures), LONGEST_PAUSE_S))
            except Exception:
                # The thread must go on after any error: no other one fetches messages.
                log.exception("polling_failed")
                self._stopping.wait(LONGEST_PAUSE_S)

    def _fetch(self) -> None:
        """Fetch and pass on updates until a request fails; return when the poller stops."""
        confirmed: int | None = None
        while not self._stopping.is_set():
            # Only the first request after an update confirms: after a week without updates Telegram
            # may begin anew with lower ids, which a kept number would confirm unseen.
            updates = self._bot.fetch_updates(confirmed, wait_s=LONG_POLL_S)
            self._failures = 0
            self._say(Arrival())
            confirmed = None
            for update in updates:
                if not self._pass_on(update):
                    return
                confirmed = update.id

    def _pass_on(self, update: PolledUpdate) -> bool:
        """Post an update until the ingress has decided about it; return False if we stop before."""
        errors = 0
        while not self._stopping.is_set():
            try:
                status, pause_s = self._ingress.post(update.payload)
            except (OSError, http.client.HTTPException) as failed:
                log.warning("update_not_passed_on", update_id=update.id, why=repr(failed))
                self._stopping.wait(1)
                continue
            if status < 300:
                return True
            if status not in BUSY:
                log.error("update_refused", update_id=update.id, status=status)
                errors += status >= 500
                if status in REFUSALS or errors >= ATTEMPTS:
                    # It would be refused for ever, and no customer behind it would be answered.
                    return True
                pause_s = 2.0 ** (errors + 1)
            self._stopping.wait(min(pause_s, LONGEST_PAUSE_S))
        return False

    def _say(self, arrival: Arrival) -> None:
        if arrival != self.arrival:
            self.arrival = arrival
            self._report(arrival)


def _look(bot: PollableChannel) -> tuple[Arrival, str | None]:
    """Return how messages come, and the name of the bot if it is known."""
    try:
        return Arrival(webhook=bot.webhook_report().url or None), bot.identify()
    except WorkerError as failed:
        return Arrival(failure=failed.message), None


def _seconds(retry_after: str | None) -> float:
    return max(1.0, float(retry_after)) if retry_after and retry_after.isdecimal() else 1.0
