"""The migrations make what the code believes to be there."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import insert, make_url, select, text
from sqlalchemy.schema import CreateIndex

from mirt.clock import utc_now
from mirt.errors import DatabaseError
from mirt.store.engine import migrate
from mirt.store.engine.database import Database
from mirt.store.engine.migrate import upgrade
from mirt.store.engine.revision import (
    SchemaError,
    check_schema,
    known_revision,
    record_works_with,
    revision_of,
)
from mirt.store.tables import conversations, metadata, tasks
from tests.clock import NOON
from tests.settings import sqlite_url

SCRIPTS = ScriptDirectory(str(Path(migrate.__file__).parents[1] / "migrations"))


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    yield opened
    opened.close()


def differences(database: Database) -> list[Any]:
    options = {"compare_type": True, "compare_server_default": True}
    with database.transaction() as tx:
        return list(compare_metadata(MigrationContext.configure(tx, opts=options), metadata))


def schema(database: Database) -> dict[str, str]:
    """Return the schema as SQLite keeps it, without the order of columns and the spelling."""
    with database.transaction() as tx:
        found = tx.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {name: _in_order(sql) for name, sql in found if name != "alembic_version"}


def _in_order(sql: str) -> str:
    head, _, columns = " ".join(sql.replace('"', "").split()).partition("(")
    return f"{head}({', '.join(sorted(part.strip(' )') for part in columns.split(', ')))})"


def indexes_made_on_postgres() -> set[str]:
    """The indexes that the migrations make there, read from what they would execute."""
    written = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written}
    )
    with Operations.context(context):
        for script in reversed(list(SCRIPTS.walk_revisions())):
            script.module.upgrade()
    statements = (" ".join(one.split()) for one in written.getvalue().split(";"))
    return {one for one in statements if one.startswith(("CREATE INDEX", "CREATE UNIQUE INDEX"))}


def migrate_to(database: Database, revision: str) -> None:
    """Make the schema as it was at this revision."""
    with database.transaction() as tx, Operations.context(MigrationContext.configure(tx)):
        for script in reversed(list(SCRIPTS.walk_revisions())):
            if script.revision <= revision:
                script.module.upgrade()
        tx.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        tx.execute(text("INSERT INTO alembic_version VALUES (:it)"), {"it": revision})


def set_revision(database: Database, revision: str) -> None:
    with database.transaction() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})


def test_the_migrated_schema_is_the_one_the_code_knows(database: Database) -> None:
    assert differences(database) == []


def test_the_parts_that_the_comparison_does_not_see_are_the_same_too(
    database: Database, empty: Database
) -> None:
    metadata.create_all(empty.engine)
    assert schema(database) == schema(empty)


def test_the_indexes_are_the_same_on_postgres_where_more_of_them_are_partial() -> None:
    postgres = make_url("postgresql+psycopg://").get_dialect()()
    known = {
        " ".join(str(CreateIndex(index).compile(dialect=postgres)).split())
        for table in metadata.tables.values()
        for index in table.indexes
    }
    assert indexes_made_on_postgres() == known


def test_upgrading_twice_changes_nothing(database: Database) -> None:
    before = schema(database)
    row = {"session_id": "s", "platform": "telegram", "last_customer_at": utc_now()}
    with database.transaction() as tx:
        tx.execute(insert(conversations).values(**row, created_at=utc_now()))
    upgrade(str(database.url))
    assert schema(database) == before
    with database.transaction() as tx:
        assert tx.execute(select(conversations.c.session_id)).scalars().all() == ["s"]


def test_a_task_queued_during_an_upgrade_has_waited_since_it_was_sent(
    empty: Database,
) -> None:
    migrate_to(empty, "0005")
    with empty.transaction() as tx:
        tx.execute(
            text(
                "INSERT INTO tasks (id, actor, args, kwargs, options, state, created_at, due_at) "
                "VALUES ('queued', 'ping', '[]', '{}', '{}', 'queued', :at, :at), "
                "('done', 'ping', '[]', '{}', '{}', 'done', :at, NULL)"
            ),
            {"at": "2026-03-01 12:00:00"},
        )
    upgrade(str(empty.url))
    with empty.transaction() as tx:
        since = tx.execute(select(tasks.c.waits_since).order_by(tasks.c.id.desc())).scalars().all()
    assert since == [NOON, None]


def test_two_who_upgrade_at_once_make_one_schema(empty: Database, database: Database) -> None:
    with ThreadPoolExecutor(2) as two:
        for done in [two.submit(upgrade, str(empty.url)) for _ in range(2)]:
            done.result(timeout=60)
    assert schema(empty) == schema(database)
    check_schema(empty)


def test_a_new_file_can_be_opened_by_two_at_once(tmp_path: Path) -> None:
    def open_and_read(folder: Path, together: Barrier) -> int:
        database = Database(sqlite_url(folder))
        together.wait(60)
        try:
            with database.transaction() as tx:
                return int(tx.execute(text("SELECT 1")).scalar_one())
        finally:
            database.close()

    with ThreadPoolExecutor(2) as two:
        for number in range(50):
            (folder := tmp_path / str(number)).mkdir()
            together = Barrier(2)
            both = [two.submit(open_and_read, folder, together) for _ in range(2)]
            assert [one.result(timeout=60) for one in both] == [1, 1]


def test_an_upgrade_waits_for_another_process_that_has_the_file(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirt.store.engine.database.LOCK_TIMEOUT_S", 0.01)
    with ThreadPoolExecutor(1) as other:
        with empty.transaction():
            begun = other.submit(upgrade, str(empty.url))
            assert not wait([begun], timeout=0.5).done
        begun.result(timeout=60)
    check_schema(empty)


def test_the_migrated_schema_is_worked_on(database: Database) -> None:
    check_schema(database)


def test_the_revision_is_known_without_alembic() -> None:
    assert known_revision() == SCRIPTS.get_current_head()


def test_a_database_without_a_schema_is_refused_with_the_command_that_makes_one(
    empty: Database,
) -> None:
    with pytest.raises(SchemaError, match=r"no schema yet; run: mirt migrate"):
        check_schema(empty)
    assert schema(empty) == {}


@pytest.mark.parametrize("revision", ["0001", "9999"])
def test_a_schema_of_another_version_is_refused_by_name(database: Database, revision: str) -> None:
    known = SCRIPTS.get_current_head()
    set_revision(database, revision)
    with pytest.raises(SchemaError, match=rf"is {revision}, .* knows {known}; run: mirt migrate"):
        check_schema(database)


def make_newer(database: Database, *works_with: str) -> None:
    """Pretend that later migrations were run which work with code of these revisions."""
    with database.transaction() as tx:
        for number, oldest in enumerate(works_with, 9001):
            record_works_with(tx, str(number), oldest)
    set_revision(database, str(9000 + len(works_with)))


def test_a_newer_schema_whose_migrations_only_add_is_worked_on(database: Database) -> None:
    make_newer(database, known_revision(), known_revision())
    check_schema(database)


def test_a_newer_schema_whose_migrations_only_add_stays_as_it_is(database: Database) -> None:
    make_newer(database, known_revision())
    before = schema(database)
    upgrade(str(database.url))
    assert schema(database) == before
    with database.transaction() as tx:
        assert revision_of(tx) == "9001"


@pytest.mark.parametrize("works_with", [["9001"], ["9001", "0001"], ["0001", "9001"]])
def test_a_newer_schema_with_a_migration_that_takes_away_is_refused(
    database: Database, works_with: list[str]
) -> None:
    make_newer(database, *works_with)
    with pytest.raises(SchemaError, match="start the version that made it"):
        check_schema(database)


def test_a_version_that_knows_no_later_migration_works_on_this_schema(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = list(SCRIPTS.walk_revisions())
    latest = scripts[0].module
    if latest.works_with == latest.revision:
        pytest.skip("the latest migration takes something away")
    monkeypatch.setattr("mirt.store.engine.revision.known_revision", lambda: latest.works_with)
    check_schema(database)


def test_every_migration_says_which_version_works_on_its_schema() -> None:
    later = [script.module for script in SCRIPTS.walk_revisions() if script.revision > "0006"]
    assert later
    for module in later:
        assert "0006" <= module.works_with <= module.revision, module.revision


def test_a_schema_from_the_future_is_not_upgraded(database: Database) -> None:
    before = schema(database)
    set_revision(database, "9999")
    with pytest.raises(CommandError, match="9999"):
        upgrade(str(database.url))
    assert schema(database) == before


def test_a_database_that_cannot_be_asked_is_not_called_a_wrong_schema(tmp_path: Path) -> None:
    (tmp_path / "mirt.db").mkdir()
    with pytest.raises(DatabaseError):
        check_schema(Database(sqlite_url(tmp_path)))
