"""The table of a screening, as CSV or Parquet: one row a file, read back to know what is done already."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from micrographia.errors import RecipeError
from micrographia.measure import AT_FULL_RESOLUTION, ON_THE_WORKING_VIEW

Cell: TypeAlias = str | int | float | None
Row: TypeAlias = dict[str, Cell]

UNIT_WORDS = {"%": "_percent", "°": "_degrees", "": ""}
MEASURED = {
    d.name: d.name.replace(" ", "_") + UNIT_WORDS[d.unit] for d in (*ON_THE_WORKING_VIEW, *AT_FULL_RESOLUTION)
}
"""The column of each measurement."""

COLUMNS: dict[str, type] = {
    "path": str,
    "sha256": str,
    "error": str,
    "category": str,
    "confidence": float,
    "second_category": str,
    "second_probability": float,
    "caption": str,
    "width": int,
    "height": int,
    **dict.fromkeys(MEASURED.values(), float),
    "size_bytes": int,
    "modified_ns": int,
    "student": str,
    "measures": str,
}
"""The last four say which state of the file, which student and which definitions the row is of."""

ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64()}
FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""A cell that begins so may be run as a formula by a spreadsheet (OWASP, "CSV Injection"); ``'`` itself is
among them so that the mark can be taken off again without doubt."""


def check(out: Path) -> None:
    """Raise RecipeError where ``out`` cannot become a table."""
    if out.suffix.lower() not in FORMATS:
        raise RecipeError(f"the table {out} ends in {out.suffix!r}", "name it .csv or .parquet")
    if not out.parent.is_dir() or out.is_dir():
        raise RecipeError(f"the table {out} cannot be written", "name a file in a folder that exists")


def read(out: Path) -> list[Row]:
    """The rows of an earlier screening; none where there is no file. Raises RecipeError for another table."""
    if not out.exists():
        return []
    try:
        return FORMATS[out.suffix.lower()][0](out)
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise RecipeError(
            f"{out} is there and is no table of `screen` ({error})", "give another name"
        ) from None


def write(out: Path, rows: Sequence[Row]) -> None:
    """The whole table or none: it gets its name when it is complete."""
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        FORMATS[out.suffix.lower()][1](draft, rows)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)


def read_journal(journal: Path) -> Iterator[Row]:
    """The rows that a run which did not end had finished; a line that was being written is left out."""
    if not journal.exists():
        return
    for line in journal.read_bytes().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and row.keys() == COLUMNS.keys():
            yield row


def append_to_journal(journal: Path, rows: Iterable[Row]) -> None:
    """Keep finished rows, a line of JSON each. It begins with a line break, to end one that was torn."""
    with journal.open("a", encoding="utf-8") as file:
        file.write("".join(f"\n{json.dumps(row)}" for row in rows) + "\n")


def _read_csv(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        if list(reader.fieldnames or ()) != list(COLUMNS):
            raise ValueError("its columns are others")
        return [{name: _value(row[name], kind) for name, kind in COLUMNS.items()} for row in reader]


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([_text(row[name]) for name in COLUMNS] for row in rows)


def _text(cell: Cell) -> Cell:
    """Words of a file or a student are never a formula: ``'`` before them is how spreadsheets mark text.
    A whole number, such as a count, has no point."""
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def _value(text: str | None, kind: type) -> Cell:
    if text is None:
        raise ValueError("a row is too short")
    if not text:
        return None
    value: Cell = kind(text)
    return value.removeprefix("'") if isinstance(value, str) else value


def _read_parquet(path: Path) -> list[Row]:
    table = pq.read_table(path)
    if table.column_names != list(COLUMNS):
        raise ValueError("its columns are others")
    rows: list[Row] = table.to_pylist()
    return rows


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    schema = pa.schema([(name, ARROW[kind]) for name, kind in COLUMNS.items()])
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)


Reader: TypeAlias = Callable[[Path], list[Row]]
Writer: TypeAlias = Callable[[Path, Sequence[Row]], None]
FORMATS: dict[str, tuple[Reader, Writer]] = {
    ".csv": (_read_csv, _write_csv),
    ".parquet": (_read_parquet, _write_parquet),
}
