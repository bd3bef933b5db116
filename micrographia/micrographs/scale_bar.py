"""Scale bars: found by what no specimen shows, even level and straight ends; measured by their edges.

A bar is a filled stroke, with end ticks or without, in one piece or parted by its label, or a row of equal
ticks. Whether it is a scale bar its label decides (``burnt_in.py``); here is only geometry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Grey = NDArray[np.uint8]
Places = NDArray[np.intp]

EVEN = 16
"""Grey levels by which neighbours within a stroke differ at most; JPEG makes it so many."""
CONTRAST = 30
"""Grey levels by which a stroke stands out from what is around it."""
SHORTEST, SHORTEST_SHARE = 14, 0.02
"""Pixels, and part of the image's width, that a bar is long at least."""
LONGEST_SHARE = 0.8
THICKEST_SHARE = 0.05
"""Of the image's width."""
SLENDER = 2.0
"""A bar is so many times as long as thick."""
RAGGED, RAGGED_SHARE = 3, 0.03
"""Columns, or part of the length, by which the ends of the rows of one stroke may differ."""
OUTLINED = 70
"""Grey levels by which they may differ: some bars are outlined, and blur makes the outer rows paler."""
WIDEST_TICK = 0.1
"""Part of a bar's length within which the tick at its end stands."""
CLEAR = 0.8
"""Part of its length on which a stroke stands out from the rows above and below."""
MOST_STROKES = 400
"""A picture with more is of lines, and which is its bar cannot be told."""
LEAST_TICKS = 5


@dataclass(frozen=True)
class Stroke:
    """A straight horizontal stroke of one grey; rows and columns are half-open."""

    left: int
    right: int
    top: int
    bottom: int
    level: float

    @property
    def length(self) -> int:
        """Whole columns."""
        return self.right - self.left


@dataclass(frozen=True)
class Bar:
    """A bar as measured. Columns are those of pixel edges: 3.0 is between the third and the fourth pixel."""

    left: float
    right: float
    top: int
    bottom: int
    kind: str
    """stroke, parted stroke, or ticks."""

    @property
    def length(self) -> float:
        """Pixels from end to end."""
        return self.right - self.left

    @property
    def uncertainty(self) -> float:
        """Half-width of the 95 % interval of the length, in pixels: each edge is found to about 0.35."""
        return 0.5

    def moved(self, rows: int, columns: int) -> Bar:
        """The same bar in an image of which this one is a part that begins there."""
        return replace(
            self,
            left=self.left + columns,
            right=self.right + columns,
            top=self.top + rows,
            bottom=self.bottom + rows,
        )


def find_strokes(grey: Grey) -> list[Stroke]:
    """Every stroke of ``grey`` (rows, columns) that may be a bar or a part of one, longest first."""
    shortest = max(SHORTEST // 2, round(SHORTEST_SHARE / 2 * grey.shape[1]))
    strokes = [stroke for stroke in _stacked(_even_runs(grey, shortest)) if _stands_out(grey, stroke)]
    whole: list[Stroke] = []
    for stroke in sorted(strokes, key=lambda stroke: stroke.top - stroke.bottom):
        if not any(_is_rim(stroke, other) for other in whole):
            whole.append(stroke)
    return sorted(whole, key=lambda stroke: -stroke.length)


def _is_rim(stroke: Stroke, thicker: Stroke) -> bool:
    """Whether it is the blurred upper or lower side of another."""
    apart = max(stroke.top - thicker.bottom, thicker.top - stroke.bottom)
    return apart <= 2 and abs(stroke.left - thicker.left) <= 6 and abs(stroke.right - thicker.right) <= 6


def _even_runs(grey: Grey, shortest: int) -> Iterator[tuple[int, int, int, float]]:
    """Row, first column, column behind the last, and level of runs of even grey, row by row."""
    levels = grey.astype(np.int16)
    even = np.zeros((grey.shape[0], grey.shape[1] + 1), bool)
    even[:, 1:-1] = np.abs(np.diff(levels, axis=1)) <= EVEN
    change = np.diff(even.astype(np.int8), axis=1)
    rows, starts = np.nonzero(change == 1)
    ends = np.nonzero(change == -1)[1]
    longest = LONGEST_SHARE * grey.shape[1]
    kept = (ends - starts + 1 >= shortest) & (ends - starts + 1 <= longest)
    kept &= _breaks(levels, rows, starts, -3) & _breaks(levels, rows, ends, 3)
    for row, start, end in zip(rows[kept], starts[kept], ends[kept], strict=True):
        run = levels[row, start : end + 1]
        level = float(np.median(run))
        if np.mean(np.abs(run - level) <= 2 * EVEN) > 0.95:
            yield int(row), int(start), int(end) + 1, level


def _breaks(levels: NDArray[np.int16], rows: Places, ends: Places, beyond: int) -> NDArray[np.bool_]:
    """Whether the grey a few columns beyond the end of a run is another."""
    columns = levels.shape[1]
    there = ends + beyond
    inside = (there >= 0) & (there < columns)
    change = np.abs(
        levels[rows, np.clip(there, 0, columns - 1)] - levels[rows, np.clip(ends, 0, columns - 1)]
    )
    return np.asarray((change >= CONTRAST) | (~inside & (ends > 1) & (ends < columns - 2)))


def _stacked(runs: Iterator[tuple[int, int, int, float]]) -> list[Stroke]:
    """Runs of neighbouring rows with the same ends and level, as one stroke each."""
    open_: list[Stroke] = []
    done: list[Stroke] = []
    at = -1
    for row, left, right, level in runs:
        if row != at:
            done += [stroke for stroke in open_ if stroke.bottom < row]
            open_ = [stroke for stroke in open_ if stroke.bottom >= row]
            at = row
        for i, stroke in enumerate(open_):
            slack = max(RAGGED, RAGGED_SHARE * stroke.length)
            same = abs(stroke.left - left) <= slack and abs(stroke.right - right) <= slack
            if stroke.bottom == row and same and abs(stroke.level - level) <= OUTLINED:
                open_[i] = replace(
                    stroke, bottom=row + 1, left=min(stroke.left, left), right=max(stroke.right, right)
                )
                break
        else:
            open_.append(Stroke(left, right, row, row + 1, level))
    return done + open_


def _stands_out(grey: Grey, stroke: Stroke) -> bool:
    """Thin, slender, not at the image's side, and unlike what is above, below and beyond its ends.

    The row and column next to it may be half stroke; what lies outside the image is unlike it.
    """
    rows, columns = grey.shape
    thick = stroke.bottom - stroke.top
    if thick > max(3, THICKEST_SHARE * columns) or stroke.length < SLENDER * thick:
        return False
    if stroke.left <= 1 or stroke.right >= columns - 1:
        return False
    return all(
        _unlike(grey[row, stroke.left + 2 : stroke.right - 2], stroke.level) >= CLEAR
        for row in (stroke.top - 2, stroke.bottom + 1)
        if 0 <= row < rows
    ) and all(
        _unlike(grey[stroke.top : stroke.bottom, column], stroke.level) >= CLEAR
        for column in (stroke.left - 3, stroke.right + 2)
        if 0 <= column < columns
    )


def _unlike(values: Grey, level: float) -> float:
    return float(np.mean(np.abs(values.astype(np.float64) - level) >= CONTRAST)) if values.size else 1.0


def measured(grey: Grey, stroke: Stroke) -> Bar:
    """The stroke from end to end; where it has ticks, from the middle of one to that of the other."""
    return _between(grey, stroke, stroke, "stroke")


def _between(grey: Grey, first: Stroke, second: Stroke, kind: str) -> Bar:
    """From the left end of ``first`` to the right end of ``second``."""
    left, right = _tick(grey, first, first.left, 1), _tick(grey, second, second.right - 1, -1)
    if left is None or right is None:
        left, right = _edge(grey, first, first.left, -1), _edge(grey, second, second.right - 1, 1)
    return Bar(left, right, first.top, first.bottom, kind)


def _tick(grey: Grey, stroke: Stroke, end: int, step: int) -> float | None:
    """The middle of the tick at an end: there the rows next to the stroke are of its grey too."""
    rows = [row for row in (stroke.top - 1, stroke.bottom) if 0 <= row < grey.shape[0]]
    beside = grey[rows].astype(np.float64)
    usual = np.median(beside[:, stroke.left : stroke.right], axis=1, keepdims=True)
    towards = np.sign(stroke.level - usual)
    width = max(2, round(WIDEST_TICK * stroke.length))
    columns = np.array([c for c in range(end - 3 * step, end + width * step, step) if 0 <= c < grey.shape[1]])
    rise = np.maximum(towards * (beside[:, columns] - usual), 0).max(axis=0)
    strong = rise >= OUTLINED
    if not strong.any() or strong[-1]:
        return None
    first = int(np.argmax(strong))
    last = first + int(np.argmin(strong[first:]))
    return float(np.average(columns[first:last], weights=rise[first:last]) + 0.5)


def _edge(grey: Grey, stroke: Stroke, inside: int, step: int) -> float:
    """The end, as a pixel edge: behind the last whole pixel, farther by what later pixels hold of the stroke.

    Exact for a sharp end that falls within a pixel, and for one that any symmetric blur has softened.
    """
    rim = (stroke.bottom - stroke.top) // 4
    profile = grey[stroke.top + rim : stroke.bottom - rim].astype(np.float64).mean(axis=0)
    reach = [
        column for column in range(inside - 3 * step, inside + 5 * step, step) if 0 <= column < profile.size
    ]
    level, ground = profile[reach[0]], profile[reach[-1]]
    if abs(level - ground) < CONTRAST / 2:
        return float(inside + (step > 0))
    held = np.clip((profile[reach] - ground) / (level - ground), 0, 1).sum()
    return float(reach[0] + (step < 0) + step * held)


def parted(grey: Grey, strokes: Sequence[Stroke]) -> list[Bar]:
    """Pairs of strokes of equal rows and level, one on each side of a label, as one bar each."""
    bars = []
    for first in strokes:
        for second in strokes:
            aligned = abs(first.top - second.top) <= 1 and abs(first.bottom - second.bottom) <= 1
            alike = abs(first.level - second.level) <= 2 * EVEN
            between = second.left - first.right
            balanced = abs(first.length - second.length) <= 0.35 * max(first.length, second.length) + 4
            if aligned and alike and balanced and 4 <= between <= 4 * max(first.length, second.length):
                bars.append(_between(grey, first, second, "parted stroke"))
    return bars


def ticks(grey: Grey, ground: float) -> list[Bar]:
    """Rows of at least LEAST_TICKS equal ticks at equal steps, from the first middle to the last."""
    apart = np.abs(grey.astype(np.float64) - ground)
    labels, _ = ndimage.label(apart >= max(CONTRAST, 0.5 * float(apart.max(initial=0.0))))
    marks = []
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        weights = np.where(labels[rows, columns] == label, apart[rows, columns], 0).sum(axis=0)
        middle = columns.start + 0.5 + float(np.average(np.arange(weights.size), weights=weights))
        marks.append(_Mark(rows.start, rows.stop, weights.size, middle))
    tops = sorted({mark.top for mark in marks if mark.is_upright})
    return [bar for top in tops if (bar := _even_row(marks, top))]


@dataclass(frozen=True)
class _Mark:
    """A connected piece of print."""

    top: int
    bottom: int
    width: int
    middle: float

    @property
    def is_upright(self) -> bool:
        return 3 <= self.bottom - self.top <= 60 and self.width <= max(2, (self.bottom - self.top) // 2)


def _even_row(marks: Sequence[_Mark], top: int) -> Bar | None:
    """The longest run of equal steps among equal ticks from row ``top``, with nothing between them."""
    row = [mark for mark in marks if mark.is_upright and abs(mark.top - top) <= 1]
    if len(row) < LEAST_TICKS:
        return None
    middles = np.sort([mark.middle for mark in row])
    steps = np.diff(middles)
    step = float(np.median(steps))
    even = np.abs(steps - step) <= max(2.0, 0.1 * step)
    runs, n_runs = ndimage.label(even)
    sizes = np.bincount(runs)[1:] if n_runs else np.array([0])
    if sizes.max() + 1 < LEAST_TICKS:
        return None
    places = np.nonzero(runs == sizes.argmax() + 1)[0]
    first, last = float(middles[places[0]]), float(middles[places[-1] + 1])
    bottom = max(mark.bottom for mark in row)
    between = [m for m in marks if first < m.middle < last and m.top < bottom and m.bottom > top]
    return Bar(first, last, top, bottom, "ticks") if len(between) == sizes.max() - 1 else None
