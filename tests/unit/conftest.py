"""A database of the test's own, with our schema."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirt.store.engine.database import Database
from mirt.store.engine.migrate import upgrade
from tests.settings import sqlite_url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with our schema, to be copied: migrating takes longer than most tests here."""
    folder = tmp_path_factory.mktemp("schema")
    upgrade(sqlite_url(folder))
    return folder / "mirt.db"


@pytest.fixture
def database(tmp_path: Path, migrated_file: Path) -> Iterator[Database]:
    shutil.copy(migrated_file, tmp_path / "mirt.db")
    opened = Database(sqlite_url(tmp_path))
    yield opened
    opened.close()
