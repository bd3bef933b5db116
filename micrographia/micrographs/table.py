"""The lab's own table: labels, groups, captions and instrument settings of files, as CSV or JSON lines."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from micrographia.errors import RecipeError
from micrographia.micrographs.walk import Found, composed, readable
from micrographia.records import Instrument, Part, Quantity, Scale, ScaleReading, Told

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(composed)]
DELIMITERS = ",;\t"
SUFFIXES = (".csv", ".tsv", ".jsonl")
"""Of files that may be such a table where nobody said so."""
LONGEST_HEAD = 10_000
"""Characters in which a table's first line is looked for."""
NAMED = 5
"""Wrong cells of one column that are named at once."""


class Row(BaseModel):
    """One row of the table. Only ``file`` is needed; an empty cell says nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    file: Words
    """Name of the file, or its path below the ingested folder or below the table's folder."""
    label: Words | None = None
    """Its class; comes before the folder's name."""
    group: Words | None = None
    """Specimen, series or paper; comes before the group pattern of the recipe."""
    caption: Words | None = None
    part: Part | None = None
    """train, validation or test, where the lab has settled that."""
    pixel_size_nm: float | None = Field(default=None, gt=0)
    technique: Words | None = None
    maker: Words | None = None
    model: Words | None = None
    detector: Words | None = None
    accelerating_voltage_kv: float | None = Field(default=None, gt=0)
    working_distance_mm: float | None = Field(default=None, gt=0)
    magnification: float | None = Field(default=None, gt=0)

    def told(self) -> Told:
        """The row as what people say of a file."""
        kv, mm = self.accelerating_voltage_kv, self.working_distance_mm
        return Told(
            label=self.label,
            group=self.group,
            caption=self.caption,
            part=self.part,
            scale=Scale() if self.pixel_size_nm is None else Scale.of((_reading(self.pixel_size_nm),)),
            instrument=Instrument(
                technique=self.technique,
                maker=self.maker,
                model=self.model,
                detector=self.detector,
                accelerating_voltage=None if kv is None else Quantity(value=kv, unit="kV"),
                working_distance=None if mm is None else Quantity(value=mm, unit="mm"),
                magnification=self.magnification,
            ),
        )


COLUMNS = tuple(Row.model_fields)


@dataclass(frozen=True)
class Table:
    """The rows by the file they name, and the columns that mean nothing to us."""

    path: Path
    rows: Mapping[str, Told]
    unknown_columns: tuple[str, ...]


def names_files(path: Path) -> bool:
    """Whether a file that nobody named looks like a table for ``read_table``: its first line has ``file``."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    try:
        with path.open(encoding="utf-8-sig") as text:
            head = text.readline(LONGEST_HEAD)
    except (OSError, UnicodeDecodeError):
        return False
    if head.lstrip().startswith("{"):
        return '"file"' in head
    return "file" in (name.strip(' "\n') for name in re.split(f"[{DELIMITERS}]", head))


def read_table(path: Path) -> Table:
    """The table in a ``.csv`` or ``.jsonl`` file (UTF-8). Raises ``RecipeError`` naming row and column."""
    text = _text(path)
    cells = list(_json_rows(path, text) if text.lstrip().startswith("{") else _csv_rows(path, text))
    if not cells:
        raise RecipeError(f"the table {path} has no row", f"its columns are {', '.join(COLUMNS)}")
    unknown = dict.fromkeys(name for _, row in cells for name in row if name not in COLUMNS)
    return Table(path, _checked(path, cells), tuple(unknown))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"there is no table {path}", "check the path") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise RecipeError(
            f"the table {path} is not UTF-8 at line {line}", "save it as UTF-8 (in Excel: CSV UTF-8)"
        ) from None
    except OSError as error:
        raise RecipeError(
            f"the table {path} cannot be read ({error.strerror})", "name a CSV or JSONL file that may be read"
        ) from None


def assign(table: Table, found: Sequence[Found]) -> tuple[dict[str, Told], tuple[str, ...]]:
    """What the table tells of each found file, by its path; and the rows whose file was not found.

    A row is compared with the files that were found, never opened. Raises ``RecipeError`` where it fits two.
    """
    here = table.path.resolve().parent
    fitting: dict[str, set[str]] = defaultdict(set)
    for file in found:
        for name in _names(file, here):
            fitting[name].add(file.text)
    told: dict[str, Told] = {}
    missing: list[str] = []
    for name, row in table.rows.items():
        files = sorted(fitting.get(_comparable(name), fitting.get(_without_links(name, here), ())))
        if len(files) > 1:
            several = " and ".join(files[:3])
            raise RecipeError(
                f"the table {table.path}: {name!r} fits {several}", "give the path below the folder"
            )
        if not files:
            missing.append(name)
        elif files[0] in told:
            raise RecipeError(f"the table {table.path} has two rows for {files[0]}", "leave one")
        else:
            told[files[0]] = row
    return told, tuple(missing)


def _names(file: Found, table_folder: Path) -> set[str]:
    """By which a row may call the file: its name, its path below the root or below the table's folder."""
    folders = [f for f in (file.root, table_folder) if file.path.is_relative_to(f)]
    paths: list[Path | str] = [
        file.path.name,
        file.path,
        *(file.path.relative_to(folder) for folder in folders),
    ]
    return {_comparable(readable(path)) for path in paths}


def _without_links(name: str, table_folder: Path) -> str:
    """The whole path that a row means, links followed as they are for the files."""
    try:
        return _comparable(readable((table_folder / _comparable(name)).resolve()))
    except (OSError, ValueError, RuntimeError):  # no path, or links in a circle
        return ""


LEAST_UNCERTAINTY = 0.001
"""Of a pixel size that somebody wrote down, whatever its digits."""


def _comparable(name: str) -> str:
    return composed(name.replace("\\", "/").removeprefix("./"))


def _reading(pixel_size_nm: float) -> ScaleReading:
    """As certain as its last digit: half of that."""
    digits = int(Decimal(repr(pixel_size_nm)).as_tuple().exponent)
    uncertainty = max(LEAST_UNCERTAINTY, 0.5 * 10**digits / pixel_size_nm)
    return ScaleReading(
        source="table",
        pixel_size_nm=pixel_size_nm,
        relative_uncertainty=uncertainty,
        detail="pixel_size_nm",
    )


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    head = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or []]
        if "file" not in names:
            raise RecipeError(f"the table {path} has no column 'file'", f"its first line is {head[:80]!r}")
        reader.fieldnames = names
        for row in reader:
            if None in row or None in row.values():
                raise RecipeError(
                    f"the table {path}: line {reader.line_num} has not {len(names)} cells as the first",
                    "quote cells that hold the delimiter",
                )
            yield reader.line_num, {name: cell for name, cell in row.items() if cell.strip()}
    except csv.Error as error:
        raise RecipeError(f"the table {path} is no CSV at line {reader.line_num}", str(error)) from None


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines() would also cut at U+2028
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise RecipeError(f"the table {path} is no JSON at line {number}", str(error)) from None
        if not isinstance(row, dict):
            raise RecipeError(
                f"the table {path}: line {number} is no object", 'a row is {"file": ..., "label": ...}'
            )
        yield number, {name: cell for name, cell in row.items() if cell not in (None, "")}


def _checked(path: Path, cells: list[tuple[int, dict[str, Any]]]) -> dict[str, Told]:
    told: dict[str, Told] = {}
    complaints: dict[str, list[str]] = defaultdict(list)
    for number, row in cells:
        try:
            checked = Row.model_validate(row)
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                column = str(problem["loc"][0])
                complaints[column].append(f"line {number}, column {column} {_explain(problem)}")
            continue
        if checked.file in told:
            complaints["file"].append(f"line {number}, column file: {checked.file!r} has a row already")
        told[checked.file] = checked.told()
    if complaints:
        shown = [words for column in complaints for words in _first(column, complaints[column])]
        raise RecipeError(f"the table {path} has wrong cells", "; ".join(shown))
    return told


def _first(column: str, complaints: list[str]) -> list[str]:
    more = len(complaints) - NAMED
    return complaints[:NAMED] + ([f"and {more} more in column {column}"] if more > 0 else [])


def _explain(problem: Any) -> str:
    if problem["type"] == "missing":
        return "is empty"
    cell = problem["input"]
    if problem["type"] == "float_parsing" and "," in cell:
        return f"is {cell!r}: the decimal sign is a point, as in 12.5, and no comma parts thousands"
    return f"is {cell!r}: {problem['msg']}"
