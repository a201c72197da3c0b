"""Fixtures of the world outside."""

from collections.abc import Iterator

import pytest

from tests.fakes.services import FakeServices


@pytest.fixture
def services() -> Iterator[FakeServices]:
    """A world of its own for each test."""
    with FakeServices() as fake:
        yield fake
