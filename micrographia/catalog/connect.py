"""The one place that knows which database is behind SQLAlchemy: connection settings, upserts, migrations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DatabaseError

from micrographia.errors import WorkspaceError

MIGRATIONS = Path(__file__).parent / "migrations"
ROWS_PER_STATEMENT = 500
DAMAGE = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
"""How the names of SQLite's errors begin that say so of the file."""
DIALECTS = {"sqlite": sqlite, "postgresql": postgresql}


def connect(url: str) -> Engine:
    """An engine on the newest schema. Raises WorkspaceError where the database cannot be used."""
    # Alembic is slow to load. Worker processes load this module too, and open no catalogue: they do without.
    from alembic.util import CommandError

    engine = _engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _settle_sqlite)
        event.listen(engine, "handle_error", _tell_damage)
    try:
        _migrate(engine)
    except WorkspaceError:
        engine.dispose()
        raise
    except (DatabaseError, CommandError) as error:
        engine.dispose()
        reason = error.orig if isinstance(error, DatabaseError) else f"{error}; update Micrographia"
        raise WorkspaceError(f"the catalogue {engine.url} cannot be opened", str(reason)) from None
    return engine


def _tell_damage(context: ExceptionContext) -> None:
    """Raises WorkspaceError. A spoiled page may be met at any time, not only when the file is opened."""
    if not getattr(context.original_exception, "sqlite_errorname", "").startswith(DAMAGE):
        return
    file = context.engine.url.database if context.engine else "of this workspace"
    # A -wal file that is left behind would spoil the copy too.
    raise WorkspaceError(
        f"the catalogue {file} cannot be opened",
        "it is damaged or not a database; move it and its -wal and -shm files away, then put back a copy "
        "of it or run `micrographia ingest` again, which only reads your images",
    ) from None


def _engine(url: str) -> Engine:
    # The address is not shown: it may hold a password, and what cannot be parsed cannot be masked.
    try:
        engine = create_engine(url)
    except (ArgumentError, ImportError) as error:
        raise WorkspaceError("the address of the catalogue cannot be used", str(error)) from None
    if engine.dialect.name not in DIALECTS:
        raise WorkspaceError(f"the catalogue {engine.url} cannot be used", f"use {' or '.join(DIALECTS)}")
    return engine


def insert_new(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert the rows whose primary key is not there yet."""
    insert = _dialect(connection).insert
    for batch in _batches(list(rows)):
        connection.execute(insert(table).values(batch).on_conflict_do_nothing())


def insert_or_replace(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert the rows; where the primary key is there, its other columns take the new values."""
    insert = _dialect(connection).insert
    keys = [column.name for column in table.primary_key]
    for batch in _batches(list(rows)):
        statement = insert(table).values(batch)
        changed = {name: statement.excluded[name] for name in batch[0] if name not in keys}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))


def _batches(rows: Sequence[Mapping[str, Any]]) -> Iterable[list[Mapping[str, Any]]]:
    return (list(rows[i : i + ROWS_PER_STATEMENT]) for i in range(0, len(rows), ROWS_PER_STATEMENT))


def _dialect(connection: Connection) -> Any:
    return DIALECTS[connection.dialect.name]


def _settle_sqlite(connection: Any, _record: object) -> None:
    # WAL with synchronous=NORMAL: readers never wait, and a killed process loses nothing it committed.
    for setting in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {setting}")


def _migrate(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    newest = ScriptDirectory.from_config(config).get_current_head()
    with engine.begin() as connection:
        present = MigrationContext.configure(connection).get_current_revision()
        if present != newest:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
