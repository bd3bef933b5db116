"""Agreement of two ways to measure the same things: bias and limits of agreement (Bland and Altman 1986).

doi:10.1016/S0140-6736(86)90837-8. The limits hold 95 % of the differences if these are normally distributed.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from micrographia.errors import RecipeError

FEWEST = 3
LABELS = ("Label", "label", "file", "File", "name", "Name", "image", "Image")
"""Columns that say what a row is of. ImageJ's first column, which has no name, only numbers the rows."""


@dataclass(frozen=True)
class Agreement:
    """Ours minus theirs."""

    means: NDArray[np.float64]
    """(n,) of the two values of each pair."""
    differences: NDArray[np.float64]
    """(n,) ours minus theirs."""
    paired_by: str
    """position, label or order."""

    @property
    def bias(self) -> float:
        """Mean difference."""
        return float(self.differences.mean())

    @property
    def limits(self) -> tuple[float, float]:
        """Bias -/+ 1.96 standard deviations of the differences."""
        reach = 1.96 * float(self.differences.std(ddof=1))
        return self.bias - reach, self.bias + reach

    @property
    def bias_interval(self) -> tuple[float, float]:
        """The 95 % interval of the bias, by Student's t."""
        n = self.differences.size
        reach = float(stats.t.isf(0.025, n - 1) * self.differences.std(ddof=1) / np.sqrt(n))
        return self.bias - reach, self.bias + reach


@dataclass(frozen=True)
class ResultsTable:
    """A table of numbers, as ImageJ's "Results" are saved."""

    path: Path
    columns: dict[str, list[str]]

    def numbers(self, column: str) -> NDArray[np.float64]:
        """One column. Raises RecipeError where it is missing or not of numbers."""
        if column not in self.columns:
            raise RecipeError(f"{self.path} has no column {column!r}", f"it has {', '.join(self.columns)}")
        try:
            return np.array([float(cell) for cell in self.columns[column]])
        except ValueError as error:
            raise RecipeError(f"{self.path}, column {column}", f"{error}") from None

    @property
    def labels(self) -> list[str] | None:
        """What each row is of; None where no column says. Mere numbers of rows say nothing."""
        name = next((name for name in LABELS if name in self.columns), None)
        if name is None or len(set(self.columns[name])) < len(self.columns[name]):
            return None
        return None if all(word.isdigit() for word in self.columns[name]) else self.columns[name]

    @property
    def places(self) -> NDArray[np.float64] | None:
        """(n, 2) X and Y of each row; None where a column is missing."""
        return (
            np.stack([self.numbers("X"), self.numbers("Y")], 1) if {"X", "Y"} <= set(self.columns) else None
        )

    def whole(self) -> ResultsTable:
        """Without the rows of what a side of the field cuts, by the column Cut, where there is one."""
        if "Cut" not in self.columns:
            return self
        kept = [cell != "1" for cell in self.columns["Cut"]]
        return replace(
            self, columns={name: list(compress(cells, kept)) for name, cells in self.columns.items()}
        )


def read_results(path: Path) -> ResultsTable:
    """A table with commas, semicolons or tabs. Raises RecipeError where it is none."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise RecipeError(f"the table {path} cannot be read ({error.strerror})", "name a CSV file") from None
    head = text.partition("\n")[0]
    rows = list(csv.reader(text.splitlines(), delimiter=max(",;\t", key=head.count)))
    if len(rows) < 2:
        raise RecipeError(f"the table {path} has no row", "save the results with their column names")
    names = [name.strip() or " " for name in rows[0]]
    whole = [row for row in rows[1:] if len(row) == len(names)]
    return ResultsTable(path, {name: [row[k].strip() for row in whole] for k, name in enumerate(names)})


def compare(ours: ResultsTable, theirs: ResultsTable, our_column: str, their_column: str) -> Agreement:
    """Pairs by position where both tables have X and Y, else by label, else row by row.

    What a side of the field cuts is left out. Raises RecipeError where the tables do not fit.
    """
    ours, theirs = ours.whole(), theirs.whole()
    first, second = ours.numbers(our_column), theirs.numbers(their_column)
    rows, paired_by = _pairs(ours, theirs)
    if len(rows) < FEWEST:
        raise RecipeError(
            f"{len(rows)} pairs of values by {paired_by}", f"at least {FEWEST} are needed to compare"
        )
    a, b = first[[row for row, _ in rows]], second[[row for _, row in rows]]
    return Agreement((a + b) / 2, a - b, paired_by)


def _pairs(ours: ResultsTable, theirs: ResultsTable) -> tuple[list[tuple[int, int]], str]:
    """Rows that belong together, and by what."""
    if ours.places is not None and theirs.places is not None:
        return _nearest(ours.places, theirs.places), "position"
    if ours.labels is not None and theirs.labels is not None:
        known = {label: row for row, label in enumerate(theirs.labels)}
        return [(row, known[label]) for row, label in enumerate(ours.labels) if label in known], "label"
    n = [len(next(iter(table.columns.values()))) for table in (ours, theirs)]
    if n[0] != n[1]:
        raise RecipeError(
            f"{ours.path} has {n[0]} rows and {theirs.path} has {n[1]}",
            "give both the columns X and Y, or a column Label, so that rows can be paired",
        )
    return [(row, row) for row in range(n[0])], "order"


def _nearest(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Rows that are each other's nearest."""
    apart = np.linalg.norm(ours[:, None] - theirs[None], axis=2)
    there, back = apart.argmin(1), apart.argmin(0)
    return [(row, int(other)) for row, other in enumerate(there) if back[other] == row]


def common_column(ours: ResultsTable, theirs: ResultsTable) -> tuple[str, str]:
    """Columns of numbers that both tables have; of diameters, the one that either has."""
    wanted = ("Feret", "diameter", "Diameter", "Area", "area", "Length", "length")
    for name in wanted:
        if name in ours.columns and name in theirs.columns:
            return name, name
    both = [name for name in ours.columns if name in theirs.columns and name not in (*LABELS, "X", "Y")]
    if not both:
        raise RecipeError("the tables have no column in common", "name two with --columns OURS THEIRS")
    return both[0], both[0]
