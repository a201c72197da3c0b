"""A deadline is kept whichever others are watched, and a later one wakes no thread."""

import threading
import time
from collections.abc import Iterator

import pytest

from middleware import interruption
from middleware.interruption import Interrupter
from mirt.errors import SoftTimeLimitExceeded


@pytest.fixture
def interrupter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Interrupter]:
    monkeypatch.setattr(interruption, "GRACE_S", 0.0)
    interrupter = Interrupter()
    yield interrupter
    interrupter.close()


def loop_for(seconds: float) -> None:
    """Loop in a frame of its own: a ``try`` around a loop may not hold its jump back."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_a_sooner_deadline_is_kept_while_a_later_one_is_watched(interrupter: Interrupter) -> None:
    interrupter.arm(3600, ("later", 1))
    interrupted = threading.Event()

    def compute() -> None:
        interrupter.arm(0.05, ("sooner", 1))
        try:
            loop_for(20)
        except SoftTimeLimitExceeded:
            interrupted.set()

    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    interrupter.disarm(("later", 1))
    assert interrupted.is_set()


def test_a_later_deadline_wakes_no_thread(
    interrupter: Interrupter, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[None] = []
    monkeypatch.setattr(interrupter._changed, "notify", lambda: woken.append(None))
    interrupter.arm(10, ("first", 1))
    with interrupter._changed:
        interrupter._looks_at = time.monotonic() + 10
    interrupter.arm(60, ("later", 1))
    assert woken == []
    interrupter.arm(1, ("sooner", 1))
    assert woken == [None]
    for run in ("first", "later", "sooner"):
        interrupter.disarm((run, 1))
    monkeypatch.undo()
