"""Fixtures of the world outside."""

from collections.abc import Iterator

import pytest

from tests.fakes.world import FakeWorld


@pytest.fixture
def world() -> Iterator[FakeWorld]:
    """A world of its own for each test."""
    with FakeWorld() as fake:
        yield fake
