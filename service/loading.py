"""Imports without the garbage collector, as a start is made of little else."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """What is imported inside stays for good, and is never looked through for garbage.

    To look takes a sixth of a start; later, in a process that was forked, it would copy the pages.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
