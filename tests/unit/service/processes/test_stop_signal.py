"""Whatever a process does when it is told to stop, it stops."""

import subprocess
import sys

import pytest

from service.processes.stop_signal import StopFlag

TOLD_ALL_THE_WHILE = """
import os, signal, time
from service.processes.stop_signal import StopFlag

stop, told = StopFlag(), 0

def on_signal(*_):
    global told
    told += 1
    stop.set()

me = os.getpid()
signal.signal(signal.SIGTERM, on_signal)
if (teller := os.fork()) == 0:
    for _ in range(100_000):
        os.kill(me, signal.SIGTERM)
        time.sleep(1e-5)
    os._exit(0)
while told < 5_000:
    stop.wait(1e-6)
os.kill(teller, signal.SIGKILL)
"""


def test_a_signal_at_any_moment_of_a_wait_ends_it() -> None:
    subprocess.run([sys.executable, "-c", TOLD_ALL_THE_WHILE], timeout=20, check=True)


def test_a_signal_just_before_the_system_call_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flag = StopFlag()
    asked: list[float | None] = []

    class MissesTheSignal:
        def poll(self, timeout_ms: float | None) -> bool:
            asked.append(timeout_ms)
            return len(asked) > 1

    monkeypatch.setattr(flag, "_poll", MissesTheSignal())
    assert flag.wait()
    assert None not in asked, "a wait without a limit would last for ever"
