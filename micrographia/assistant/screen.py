"""A table for a folder of images: what the assistant says of each, and what is measured on it.

Finished rows go to a journal beside the table, so that a run which was killed goes on where it was; the table
itself is written at the end, whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from micrographia import engine
from micrographia.assistant import table
from micrographia.assistant.assistant import IMAGES_AT_ONCE, Assistant, Look
from micrographia.assistant.reading import Reading, read
from micrographia.assistant.table import Cell, Row
from micrographia.engine import SILENT, Outcome, Progress
from micrographia.errors import RecipeError, StudentError
from micrographia.measure import METHOD_VERSION
from micrographia.micrographs.ingest import IMAGE_SUFFIXES
from micrographia.micrographs.limits import Limits
from micrographia.micrographs.read import is_image
from micrographia.micrographs.walk import Found, find_files, readable

WORTH_A_WORKER = 64
"""Files for which a further process pays: starting one takes as long as reading about so many."""

STATE = ("path", "size_bytes", "modified_ns", "student", "measures")
"""What a row is of; it is made anew when any of it changes."""

CLASS_COLUMNS = (("category", "confidence"), ("second_category", "second_probability"))

ReadOutcome: TypeAlias = Outcome[Found, Reading]
State: TypeAlias = tuple[Cell, ...]


@dataclass(frozen=True)
class Screening:
    """What a run of ``screen`` made."""

    table: Path
    images: int
    """Files that are images, or should be: the rows of the table."""
    computed: int
    """How many of these rows are new; the others were there already."""
    errors: tuple[tuple[str, str], ...]
    """Path and reason of each file that could not be read."""
    skipped: int
    """Files that are no images."""


def screen(
    folder: Path,
    out: Path,
    assistant: Assistant,
    workers: int = 1,
    limits: Limits | None = None,
    progress: Progress = SILENT,
) -> Screening:
    """One row in ``out`` (.csv or .parquet) for each image at or below ``folder``, sorted by path.

    A row that an earlier run made of the same file (path, size and time of change) with the same student
    and the same definitions of measurements is kept. A file that cannot be read is a row with its error, and
    is tried again by the next run.
    Raises RecipeError before any work where there is no image, ``out`` is no place for a table, or it is the
    table of another folder.
    """
    table.check(out)
    journal = out.with_name(f"{out.name}.part")
    found = find_files([folder], leave_out=[out, journal])
    images = sorted(filter(_should_be_image, found), key=_path_in_folder)
    if not images:
        raise RecipeError(f"there is no image in {folder}", "PNG, JPEG, BMP and TIFF are read")
    before = [*table.read(out), *table.read_journal(journal)]
    _require_same_folder(out, before, images)
    rows = {_state_of(row): row for row in before if not row["error"]}
    states = [_state(file, assistant) for file in images]
    new = [file for file, state in zip(images, states, strict=True) if state not in rows]
    for batch in _screened(new, assistant, workers, limits or Limits(), progress):
        table.append_to_journal(journal, batch)
        rows |= {_state_of(row): row for row in batch}
    done = [rows[state] for state in states]
    table.write(out, done)
    journal.unlink(missing_ok=True)
    errors = tuple((str(row["path"]), str(row["error"])) for row in done if row["error"])
    return Screening(out, len(images), len(new), errors, len(found) - len(images))


def _require_same_folder(out: Path, rows: Sequence[Row], images: Sequence[Found]) -> None:
    if rows and {row["path"] for row in rows}.isdisjoint(map(_path_in_folder, images)):
        raise RecipeError(
            f"{out} is the table of another folder: none of its {len(rows)} images is here",
            "give another name, or delete the table first",
        )


def _should_be_image(file: Found) -> bool:
    """As in ingest: told by content, and a name that promises an image is held to it."""
    if file.excuse:
        return False
    return bool(file.fault) or is_image(file.path) or file.path.suffix.lower() in IMAGE_SUFFIXES


def _path_in_folder(file: Found) -> str:
    return readable(file.path.relative_to(file.root).as_posix())


def _state(file: Found, assistant: Assistant) -> State:
    return (
        _path_in_folder(file),
        file.size_bytes,
        file.modified_ns,
        assistant.identity,
        METHOD_VERSION,
    )


def _state_of(row: Row) -> State:
    return tuple(row[name] for name in STATE)


def _screened(
    files: Sequence[Found], assistant: Assistant, workers: int, limits: Limits, progress: Progress
) -> Iterator[list[Row]]:
    """Rows in batches: processes decode and measure, the student looks from this one."""
    workers = min(workers, 1 + len(files) // WORTH_A_WORKER)
    progress.begin("screening", len(files), "images")
    outcomes = engine.apply(partial(read, limits=limits), files, workers)
    for batch in engine.few_at_a_time(outcomes, IMAGES_AT_ONCE, _bytes_of):
        yield _rows(batch, assistant)
        progress.advance(len(batch))
    progress.end()


def _bytes_of(outcome: ReadOutcome) -> int:
    return 0 if outcome.result is None or outcome.result.image is None else outcome.result.image.nbytes


def _rows(batch: Sequence[ReadOutcome], assistant: Assistant) -> list[Row]:
    readings = [outcome.result for outcome in batch]
    images = [None if reading is None else reading.image for reading in readings]
    refusals = [None if image is None else assistant.refusal(image) for image in images]
    seen = [
        image for image, refusal in zip(images, refusals, strict=True) if image is not None and not refusal
    ]
    looks = iter(assistant.describe(seen))
    return [
        _row(outcome, assistant, looks, refusal) for outcome, refusal in zip(batch, refusals, strict=True)
    ]


def _row(
    outcome: ReadOutcome, assistant: Assistant, looks: Iterator[Look], refusal: StudentError | None
) -> Row:
    """``looks`` gives the next one, which is taken where there is an image, and no refusal of it."""
    row: Row = dict.fromkeys(table.COLUMNS)
    row |= dict(zip(STATE, _state(outcome.item, assistant), strict=True))
    reading = outcome.result
    if reading is None:
        return row | {"error": outcome.reason}
    if reading.image is None:
        return row | {"sha256": reading.sha256, "error": reading.error}
    if refusal:
        return row | {"sha256": reading.sha256, "error": f"{row['path']}: {refusal}"}
    height, width = reading.image.shape[:2]
    row |= {"sha256": reading.sha256, "width": width, "height": height, **_said(next(looks))}
    return row | {
        table.MEASURED[m.name]: _rounded(m.quantity.value)
        for m in reading.measurements
        if m.quantity is not None
    }


def _said(look: Look) -> Row:
    """Caption and the first two classes; an empty cell for what the student was not taught."""
    cells: Row = {"caption": look.text or None}
    for (category, confidence), (label, probability) in zip(CLASS_COLUMNS, look.ranking, strict=False):
        cells |= {category: label, confidence: _rounded(probability)}
    return cells


def _rounded(value: float) -> float:
    """To six digits: the next ones depend on which images were in a batch together."""
    return float(f"{value:.6g}")
