"""Loggers that a thread adds disturb no test."""

import logging
import threading
from itertools import count

from _pytest.logging import catching_logs


def test_a_test_begins_while_a_thread_adds_loggers() -> None:
    stops = threading.Event()

    def add() -> None:
        for number in count():
            if stops.is_set():
                return
            logging.root.manager.loggerDict[f"added {number % 5000}"] = logging.Logger("added")
            logging.root.manager.loggerDict.pop(f"added {(number + 2500) % 5000}", None)

    adding = threading.Thread(target=add)
    adding.start()
    try:
        for _ in range(300):
            with catching_logs(logging.NullHandler()):
                pass
    finally:
        stops.set()
        adding.join()
        for name in [name for name in logging.root.manager.loggerDict if name[:6] == "added "]:
            del logging.root.manager.loggerDict[name]
