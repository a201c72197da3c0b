"""Keeps Python's garbage collector from searching loaded modules, which are never garbage.

Measured gain in CPU seconds, as medians of 15 runs on Python 3.11:

=====================================  ==========  ============
start                                  always on   paused here
=====================================  ==========  ============
``mirt --help``                        0.12        0.10
``mirt inspect --json``                0.58        0.40
modules of a worker (``warm_up``)      0.83        0.51
=====================================  ==========  ============
"""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


def pause() -> None:
    """Stop searching for garbage."""
    gc.disable()


def resume() -> None:
    """Search for garbage again, but never among the objects that exist now."""
    gc.freeze()
    gc.enable()


def skip_at_exit() -> None:
    """Exclude all objects from the search that the interpreter makes at its exit."""
    atexit.register(gc.freeze)


@contextmanager
def paused() -> Iterator[None]:
    """Pause the garbage collector while modules are imported inside; then resume it.

    In a process that is forked later, frozen objects also stay shared with the parent: a search
    would write to their pages, and so copy them.
    """
    pause()
    try:
        yield
    finally:
        resume()
