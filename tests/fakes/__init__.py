"""One fake server for all outside APIs, over real HTTP, that can be told to misbehave.

In a test: the fixture ``world``. As a process of its own: ``python -m tests.fakes --port N``,
told what to do through ``RemoteServices(url)`` or plain JSON (``control.py``).
"""

from tests.fakes.misbehaviour import (
    Delay,
    EmptyCompletion,
    Garbage,
    Hang,
    Misbehaviour,
    Reset,
    Rule,
    SlowBytes,
    Status,
    TooMany,
)
from tests.fakes.remote import RemoteServices
from tests.fakes.services import FakeServices
from tests.fakes.traffic import Reply, Request

__all__ = [
    "Delay",
    "EmptyCompletion",
    "FakeServices",
    "Garbage",
    "Hang",
    "Misbehaviour",
    "RemoteServices",
    "Reply",
    "Request",
    "Reset",
    "Rule",
    "SlowBytes",
    "Status",
    "TooMany",
]
