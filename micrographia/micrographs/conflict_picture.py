"""A picture of readings of the scale that contradict each other, so that a person sees which one is wrong.

Below the image, in its own pixels, the length that stands at the scale bar is drawn once for each reading, as
long as that reading makes it: the line that does not fit what is seen in the image is of the wrong one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micrographia.micrographs.lengths import parse_length, printed_length
from micrographia.micrographs.rendering import new_figure, png_of
from micrographia.micrographs.scale import SOURCES
from micrographia.records import Box, Scale, ScaleReading

VERSION = "1"
"""Raised when the same conflict is drawn otherwise."""

FOUND = "#35c4ff"
"""The bar as it was found."""
COLOURS = {
    "scale bar": "#0072b2",
    "vendor tag": "#d55e00",
    "field width": "#00795a",
    "sidecar": "#a8457f",
    "table": "#806000",
}
"""Of each source's line (Okabe and Ito, darkened where text would be pale)."""
INK, SOFT = "#1c2530", "#5d6b7a"

WIDTH, MARGIN, TALLEST = 9.0, 0.3, 6.5
"""Inches: the picture's width, what is left around, and the image's greatest height."""
TITLE, EACH, CLOSE_UP, GAP = 0.8, 0.62, 1.8, 0.2
"""Inches: heights of the title, of each reading and of the enlarged bar, and between them."""
LONGEST_NAME, LONGEST_LINE = 80, 116
"""Letters that have room."""


@dataclass(frozen=True)
class Conflict:
    """One image whose readings of the scale contradict each other."""

    name: str
    image: NDArray[np.uint8]
    """(rows, columns) or (rows, columns, 3), databar and all."""
    scale: Scale
    bar: Box | None
    """The scale bar as it was found."""

    @property
    def columns(self) -> int:
        """Of the image."""
        return int(self.image.shape[1])

    @property
    def drawn(self) -> tuple[str, float]:
        """The length that is drawn by each reading, in words and in nm: the bar's, or else a round one."""
        for reading in self.scale.readings:
            label = reading.detail.partition(" = ")[0]
            nanometres = parse_length(label) if reading.source == "scale bar" else None
            if nanometres:
                return label, nanometres
        middle = float(np.median([reading.pixel_size_nm for reading in self.scale.readings]))
        nanometres = _round(middle * self.columns / 4)
        return printed_length(nanometres), nanometres

    @property
    def factor(self) -> float:
        """The largest over the smallest reading, of widths or of heights of a pixel."""
        sides = ([r.pixel_size_nm for r in self.scale.readings], [r.height_nm for r in self.scale.readings])
        return max(max(sizes) / min(sizes) for sizes in sides)


def draw_conflict(conflict: Conflict) -> bytes:
    """The picture as PNG: the image, a line for each reading with its words, and the bar enlarged."""
    rows, columns = conflict.image.shape[:2]
    wide = min(WIDTH - 2 * MARGIN, TALLEST * columns / rows)
    high = wide * rows / columns
    lines = EACH * len(conflict.scale.readings) + GAP
    total = TITLE + high + lines + MARGIN + (CLOSE_UP + GAP if conflict.bar else 0)
    figure = new_figure(WIDTH, total)

    def part(top: float, width: float, height: float) -> Any:
        """Axes whose upper side is so many inches below the picture's."""
        place = (MARGIN / WIDTH, 1 - (top + height) / total, width / WIDTH, height / total)
        return figure.add_axes(place, xticks=[], yticks=[])

    _title(part(0, WIDTH - 2 * MARGIN, TITLE), conflict)
    _whole(part(TITLE, wide, high), conflict)
    _lines(part(TITLE + high, wide, lines), conflict)
    if conflict.bar:
        _enlarged(part(TITLE + high + lines + GAP, WIDTH - 2 * MARGIN, CLOSE_UP), conflict, conflict.bar)
    return png_of(figure)


def _round(length: float) -> float:
    """The largest of 1, 2, 5, 10, 20 ... that is not above it."""
    power = 10.0 ** math.floor(math.log10(length))
    return power * max(step for step in (1, 2, 5) if step <= length / power * (1 + 1e-9))


def _title(axes: Any, conflict: Conflict) -> None:
    axes.set_axis_off()
    name = _cut(conflict.name, LONGEST_NAME)
    words = (
        f"Readings of its scale differ by a factor of {_number(conflict.factor, 3)}. "
        f"Below the image, {conflict.drawn[0]} is as long as each reading makes it."
    )
    axes.text(0, 0.72, name, fontsize=13, weight="bold", color=INK, va="top")
    axes.text(0, 0.36, words, fontsize=9.5, color=SOFT, va="top")


def _whole(axes: Any, conflict: Conflict) -> None:
    """The image, the bar's ends marked and led down to the lines."""
    rows, columns = conflict.image.shape[:2]
    axes.imshow(conflict.image, cmap="gray", vmin=0, vmax=255, aspect="auto")
    if conflict.bar:
        _mark(axes, conflict, conflict.bar)
        for end in _ends(conflict, conflict.bar):
            axes.plot([end] * 2, [conflict.bar.bottom, rows - 0.5], color=FOUND, lw=0.8, ls=":")
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))


def _mark(axes: Any, conflict: Conflict, bar: Box) -> None:
    """An outline around the bar, its ends stronger."""
    beyond = max(4.0, 0.012 * conflict.columns)
    left, right = _ends(conflict, bar)
    top, bottom = bar.top - 0.5 - beyond, bar.bottom - 0.5 + beyond
    for row in (top, bottom):
        axes.plot([left, right], [row] * 2, color=FOUND, lw=0.7)
    for end in (left, right):
        axes.plot([end] * 2, [top, bottom], color=FOUND, lw=1.6)


def _ends(conflict: Conflict, bar: Box) -> tuple[float, float]:
    """The bar's ends as matplotlib counts columns, 0 being the middle of the first.

    A box is of whole pixels; how long the bar is to a part of one, its reading tells.
    """
    reading = next((r for r in conflict.scale.readings if r.source == "scale bar"), None)
    length = conflict.drawn[1] / reading.pixel_size_nm if reading else bar.right - bar.left
    middle = (bar.left + bar.right) / 2 - 0.5
    return middle - length / 2, middle + length / 2


def _lines(axes: Any, conflict: Conflict) -> None:
    """A line for each reading with its words, in the columns of the image above."""
    readings = conflict.scale.readings
    words, nanometres = conflict.drawn
    start, room = _room(conflict)
    for row, reading in enumerate(readings):
        pixels = nanometres / reading.pixel_size_nm
        _line(axes, row, start, math.copysign(pixels, room), room, COLOURS[reading.source])
        title = f"{words} by {SOURCES[reading.source]}: {_number(pixels, 4)} px"
        runs_on = ", more than there is room for" if pixels > abs(room) else ""
        plain = {"va": "top", "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.6}}
        axes.text(
            -0.5,
            row + 0.3,
            title + runs_on,
            color=COLOURS[reading.source],
            fontsize=9.5,
            weight="bold",
            **plain,
        )
        axes.text(-0.5, row + 0.6, _said(reading, conflict.columns), color=SOFT, fontsize=8, **plain)
    if conflict.bar:
        for end in _ends(conflict, conflict.bar):
            axes.axvline(end, color=FOUND, lw=0.8, ls=":", zorder=0)
    axes.set(xlim=(-0.5, conflict.columns - 0.5), ylim=(len(readings), -GAP / EACH))
    axes.set_axis_off()


def _room(conflict: Conflict) -> tuple[float, float]:
    """Where the lines begin, and the columns they have: from that end of the bar that has more before it.

    Columns to the left are negative.
    """
    if conflict.bar is None:
        return -0.5, conflict.columns
    left, right = _ends(conflict, conflict.bar)
    before, behind = right + 0.5, conflict.columns - 0.5 - left
    return (left, behind) if behind >= before else (right, -before)


def _line(axes: Any, row: float, start: float, length: float, room: float, colour: str) -> None:
    """A line with ticks at its ends; one that is longer than its room ends in an arrow."""
    shown = length if abs(length) <= abs(room) else room
    height = row + 0.12
    axes.plot([start, start + shown], [height] * 2, color=colour, lw=3, solid_capstyle="butt")
    ends = [start, start + length] if shown == length else [start]
    for end in ends:
        axes.plot([end] * 2, [height - 0.1, height + 0.1], color=colour, lw=1.6)
    if shown != length:
        arrow = ">" if length > 0 else "<"
        axes.plot([start + shown], [height], color=colour, marker=arrow, markersize=9, clip_on=False)


def _said(reading: ScaleReading, columns: int) -> str:
    """The reading itself, how wide it makes the image, and the tag or label as it was read."""
    high = f" wide and {printed_length(reading.height_nm)} high" if reading.pixel_height_nm else ""
    uncertainty = f" ± {100 * reading.relative_uncertainty:.2g} %" if reading.relative_uncertainty else ""
    words = (
        f"a pixel is {printed_length(reading.pixel_size_nm)}{high}{uncertainty}, "
        f"the image {printed_length(reading.pixel_size_nm * columns)} wide"
    )
    detail = f"; read: {reading.detail}" if reading.detail else ""
    return _cut(words + detail, LONGEST_LINE)


def _number(value: float, digits: int) -> str:
    """With so many significant digits and no power of ten."""
    return f"{float(f'{value:.{digits}g}'):,.10g}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _enlarged(axes: Any, conflict: Conflict, bar: Box) -> None:
    """The bar and what is around it, to be seen whether it was found from end to end."""
    rows, columns = conflict.image.shape[:2]
    half_high = max(30.0, 0.045 * columns, 0.14 * (bar.right - bar.left))
    half_wide = half_high * (WIDTH - 2 * MARGIN) / CLOSE_UP
    down, across = (bar.top + bar.bottom) / 2, (bar.left + bar.right) / 2
    axes.imshow(conflict.image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    _mark(axes, conflict, bar)
    axes.set(
        xlim=(max(-0.5, across - half_wide), min(columns - 0.5, across + half_wide)),
        ylim=(min(rows - 0.5, down + half_high), max(-0.5, down - half_high)),
        anchor="NW",
    )
    axes.set_title("The bar as it was found, enlarged", loc="left", fontsize=8, color=SOFT, pad=3)
