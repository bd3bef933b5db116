"""The steps of migration lead to the tables as they are written, and a strange file is refused."""

import sqlite3

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from micrographia.catalog import Catalog, tables
from micrographia.catalog.connect import connect
from micrographia.errors import WorkspaceError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "catalog.sqlite"


@pytest.fixture
def engine(path):
    opened = connect(f"sqlite:///{path}")
    yield opened
    opened.dispose()


def test_the_steps_lead_to_the_tables_as_written(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
    there = set(sqlalchemy.inspect(engine).get_table_names())
    assert there == {*tables.metadata.tables, "alembic_version"}


def test_a_readers_view_is_never_blocked_and_keys_are_checked(engine):
    with engine.connect() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 30_000}


def test_opening_again_changes_nothing(engine, path):
    def schema():
        with sqlite3.connect(path) as file:
            return file.execute("select sql from sqlite_master order by name").fetchall()

    before = schema()
    connect(f"sqlite:///{path}").dispose()
    assert schema() == before


def test_an_older_catalogue_is_brought_up_to_date_and_keeps_its_rows(engine, path):
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.insert(tables.micrographs).values(id="a" * 64, as_read="{}", record="{}")
        )
        for later in ("landmarks", "divisions", "acquisitions"):
            connection.execute(sqlalchemy.text(f"drop table {later}"))
        connection.execute(sqlalchemy.text("update alembic_version set version_num = '0001'"))
    engine.dispose()
    newer = connect(f"sqlite:///{path}")
    with newer.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
        assert connection.scalar(sqlalchemy.select(tables.micrographs.c.id)) == "a" * 64
    newer.dispose()


def test_a_file_that_is_no_database_is_refused(path):
    path.write_bytes(b"certainly not a database, but long enough to look at" * 100)
    with pytest.raises(WorkspaceError, match=r"catalog\.sqlite cannot be opened.*not a database"):
        Catalog(f"sqlite:///{path}")


def test_a_folder_in_the_place_of_the_file_is_refused(path):
    path.mkdir()
    with pytest.raises(WorkspaceError, match="unable to open"):
        Catalog(f"sqlite:///{path}")


def test_a_catalogue_of_a_newer_version_is_refused_and_left_alone(engine, path):
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("update alembic_version set version_num = '9999'"))
    engine.dispose()
    with pytest.raises(WorkspaceError, match="9999"):
        Catalog(f"sqlite:///{path}")
    with sqlite3.connect(path) as file:
        assert file.execute("select version_num from alembic_version").fetchall() == [("9999",)]


@pytest.mark.parametrize(
    "url", ["nonsense with a secret", "nosuchdatabase://me:secret@here", "oracle+nodriver://me:secret@here/x"]
)
def test_an_address_of_no_database_is_refused_and_its_password_kept(url):
    with pytest.raises(WorkspaceError, match="cannot be used") as caught:
        Catalog(url)
    assert "secret" not in str(caught.value)
