"""Note which outside services answer during a run, so that held work goes on after an outage.

The notes are a context variable: HTTP writes them, and the code around the run reads them.
"""

from collections.abc import Collection
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class ServiceCalls:
    """The calls of one run.

    ``probe`` is the service that this run asks although it was down. For the services in ``held``
    another run is the probe. ``private`` are the arguments of the task, which may be texts of a
    customer: what a service quotes of them is struck out of its errors.
    """

    probe: str | None = None
    held: Collection[str] = ()
    private: Any = field(default=(), repr=False)
    answered: set[str] = field(default_factory=set)


_calls: ContextVar[ServiceCalls] = ContextVar("service_calls", default=ServiceCalls())  # noqa: B039


def begin(
    probe: str | None = None, held: Collection[str] = (), *, private: Any = ()
) -> ServiceCalls:
    """Begin the notes of a run in this context, and return them."""
    calls = ServiceCalls(probe, held, private)
    _calls.set(calls)
    return calls


def current() -> ServiceCalls:
    """Return the notes of the run in this context."""
    return _calls.get()
