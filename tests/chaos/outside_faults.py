"""Faults of the services outside: the agent, Telegram and the CRM."""

import random
from collections.abc import Iterator
from typing import Final

from tests.chaos.kinds import Recovered, kind
from tests.chaos.stage import Stage
from tests.fakes import Hang, Misbehaviour, Reset, Status, TooMany

PATHS: Final = {"llm": "/chat/completions", "telegram": "/sendMessage", "crm": "/api/orders"}
AFTER_THE_EFFECT: Final = (408, 500, 502, 504)
"""Statuses of a proxy that has given up on a request which takes effect all the same."""


def _outside(name: str, api: str, what: Misbehaviour, lasts: tuple[float, float]) -> None:
    """A kind of a service outside that does ``what`` to every request meanwhile."""

    @kind(name, api, lasts)
    def misbehaves(stage: Stage, _: random.Random) -> Iterator[Recovered]:
        stage.services.misbehave(api, what, times=None, path=PATHS[api])
        yield None
        stage.services.mend(api)
        stage.services.release()


_outside("agent answers 429", "llm", TooMany(2), (1, 4))
_outside("agent answers 500", "llm", Status(500), (0.5, 3))
_outside("agent resets", "llm", Reset(applied=False), (0.5, 3))
_outside("agent hangs", "llm", Hang(), (2, 6))
_outside("Telegram answers 429", "telegram", TooMany(2), (1, 4))
_outside("Telegram answers 500", "telegram", Status(500), (0.5, 3))
_outside("Telegram resets after sending", "telegram", Reset(), (0.5, 2))
_outside("agent answers 500 for a minute", "llm", Status(500), (60, 60))
_outside("CRM answers 429", "crm", TooMany(2), (2, 6))
_outside("CRM resets after creating", "crm", Reset(), (2, 8))
for status in AFTER_THE_EFFECT:
    what = Status(status, applied=True)
    _outside(f"Telegram answers {status} after sending", "telegram", what, (0.5, 2))
    _outside(f"CRM answers {status} after creating", "crm", what, (2, 8))
