"""Faults of the services outside: the agent and Telegram."""

import random
from collections.abc import Iterator
from typing import Final

from tests.chaos.kinds import Recovered, kind
from tests.chaos.stage import Stage
from tests.fakes import Hang, Misbehaviour, Reset, Status, TooMany

PATHS: Final = {"llm": "/chat/completions", "telegram": "/sendMessage"}


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
_outside("Telegram answers 502 after sending", "telegram", Status(502, applied=True), (0.5, 2))
