"""Databars in the looks of three makers, and exactly what stands in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from micrographia.errors import RecipeError
from micrographia.phantoms.truth import DatabarTruth, length_label
from micrographia.records import Instrument

Fields = dict[str, str]
ROUND_LENGTHS = (1, 2, 5)


@dataclass(frozen=True)
class Look:
    """How one maker's databar is laid out."""

    share: float
    """Height of the databar as a share of the image's width."""
    ground: int
    bar_share: float
    """Longest scale bar as a share of the image's width."""
    fields: Callable[[Instrument, float], Fields]
    draw: Callable[[_Canvas, str, int, Fields], tuple[int, int, Fields]]
    """Draws label, bar and fields; returns the bar's row and first column and the fields that had room."""


@dataclass
class _Canvas:
    """The strip being drawn, its size and its fonts."""

    image: Image.Image
    cols: int
    rows: int

    def __post_init__(self) -> None:
        self.draw = ImageDraw.Draw(self.image)

    def font(self, share: float, bold: bool = False) -> ImageFont.FreeTypeFont:
        return font(max(8, round(self.rows * share)), bold)

    def text(
        self, col: float, row: float, text: str, font: ImageFont.FreeTypeFont, grey: int, anchor: str
    ) -> None:
        self.draw.text((col, row), text, fill=grey, font=font, anchor=anchor)

    def line(self, row: int, left: int, right: int, thick: int = 1, grey: int = 255) -> None:
        """Columns left to right - 1, both drawn."""
        self.draw.rectangle((left, row, right - 1, row + thick - 1), fill=grey)

    def bar_ticks(self, left: int, length: int, top: int, bottom: int) -> None:
        """Ticks at both ends of a bar, ``length`` columns from middle to middle."""
        for col in (left, left + length):
            self.upright(col, top, bottom)

    def upright(self, col: int, top: int, bottom: int, grey: int = 255) -> None:
        self.draw.rectangle((col, top, col, bottom), fill=grey)


@lru_cache(maxsize=64)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib, ``size`` pixels high."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)


def height(style: str, cols: int) -> int:
    """Rows that a databar takes from an image of ``cols`` columns."""
    return max(22, round(look(style).share * cols))


def look(style: str) -> Look:
    """The layout called ``style``; RecipeError where there is none of that name."""
    if style not in LOOKS:
        raise RecipeError(f"databar style is {style!r}", f"use one of {', '.join(LOOKS)}")
    return LOOKS[style]


def attach(
    field: NDArray[np.uint8], style: str, pixel_size_nm: float, instrument: Instrument
) -> tuple[NDArray[np.uint8], DatabarTruth]:
    """The field, (rows, columns), with a databar under it, and what the databar says."""
    layout = look(style)
    rows, cols = height(style, field.shape[1]), field.shape[1]
    bar_nm = round_length(layout.bar_share * cols * pixel_size_nm)
    bar_px = max(2, round(bar_nm / pixel_size_nm))
    strip = _Canvas(Image.new("L", (cols, rows), layout.ground), cols, rows)
    label = length_label(bar_nm)
    fields = layout.fields(instrument, pixel_size_nm * cols)
    bar_row, bar_left, printed = layout.draw(strip, label, bar_px, fields)
    image = np.concatenate([field, np.asarray(strip.image, np.uint8)])
    truth = DatabarTruth(
        style=style,
        top=field.shape[0],
        bar_row=field.shape[0] + bar_row,
        bar_left=bar_left,
        bar_px=bar_px,
        bar_nm=bar_nm,
        label=label,
        fields=printed,
    )
    return image, truth


def round_length(longest_nm: float) -> float:
    """The largest of 1, 2, 5, 10, ... nm that is no longer than ``longest_nm``."""
    decade = 10.0 ** np.floor(np.log10(longest_nm))
    return float(max(n for n in ROUND_LENGTHS if n * decade <= longest_nm * (1 + 1e-9)) * decade)


def _facts(instrument: Instrument) -> tuple[float, float, float, str]:
    kv, wd = instrument.accelerating_voltage, instrument.working_distance
    if kv is None or wd is None or instrument.magnification is None:
        raise ValueError("a databar needs the voltage, the working distance and the magnification")
    return kv.value, wd.value, instrument.magnification, instrument.detector or "SE"


def _fei_fields(instrument: Instrument, width_nm: float) -> Fields:
    kv, wd, mag, detector = _facts(instrument)
    return {
        "HV": f"{kv:.2f} kV",
        "mag": f"{mag:,.0f} x".replace(",", " "),
        "WD": f"{wd:.1f} mm",
        "det": detector,
        "HFW": length_label(width_nm),
    }


def _fei(strip: _Canvas, label: str, bar_px: int, fields: Fields) -> tuple[int, int, Fields]:
    """Headings over values in cells, and at the right a line with its length in the middle."""
    font, middle = strip.font(0.34), strip.rows // 2
    bar_left = strip.cols - bar_px - max(4, strip.cols // 60)
    left, printed = 0.0, {}
    for heading, value in fields.items():
        width = max(font.getlength(heading), font.getlength(value)) + 0.5 * font.size
        if left + width > bar_left - 4:
            break
        strip.text(left + width / 2, 0.27 * strip.rows, heading, font, 255, "mm")
        strip.text(left + width / 2, 0.73 * strip.rows, value, font, 255, "mm")
        left += width
        strip.upright(int(left), 1, strip.rows - 2, 190)
        printed[heading] = value
    strip.line(0, 0, strip.cols, 1, 190)
    room = font.getlength(label) + 0.7 * font.size
    centre = bar_left + bar_px / 2
    row, thick = middle, max(1, strip.rows // 30)
    if room < 0.8 * bar_px:
        strip.line(row, bar_left, int(centre - room / 2), thick)
        strip.line(row, int(centre + room / 2), bar_left + bar_px + 1, thick)
        strip.text(centre, middle, label, font, 255, "mm")
    else:
        row = int(0.75 * strip.rows)
        strip.line(row, bar_left, bar_left + bar_px + 1, thick)
        strip.text(strip.cols - 3, 0.3 * strip.rows, label, font, 255, "rm")
    strip.bar_ticks(bar_left, bar_px, row - strip.rows // 6, row + strip.rows // 6)
    return row, bar_left, printed


def _zeiss_fields(instrument: Instrument, _: float) -> Fields:
    kv, wd, mag, detector = _facts(instrument)
    shown = f"{mag / 1000:.2f} K X" if mag >= 1000 else f"{mag:.0f} X"
    return {"Mag": shown, "EHT": f"{kv:.2f} kV", "Signal A": detector, "WD": f"{wd:.1f} mm"}


def _zeiss(strip: _Canvas, label: str, bar_px: int, fields: Fields) -> tuple[int, int, Fields]:
    """At the left the length over its bar; to the right of it settings, two to a column."""
    font = strip.font(0.32, bold=True)
    bar_left, row = max(4, strip.cols // 64), int(0.76 * strip.rows)
    strip.text(bar_left, 0.3 * strip.rows, label, font, 255, "lm")
    strip.line(row, bar_left, bar_left + bar_px + 1, max(1, strip.rows // 28))
    strip.bar_ticks(bar_left, bar_px, row - strip.rows // 9, row + strip.rows // 9)
    left = bar_left + max(bar_px, font.getlength(label)) + 1.5 * font.size
    printed: Fields = {}
    items = list(fields.items())
    for pair in (items[:2], items[2:]):
        texts = [f"{heading} = {value}" for heading, value in pair]
        width = max(font.getlength(text) for text in texts)
        if left + width > strip.cols - 2:
            break
        for text, level in zip(texts, (0.28, 0.72), strict=True):
            strip.text(left, level * strip.rows, text, font, 255, "lm")
        printed |= dict(pair)
        left += width + 1.5 * font.size
    return row, bar_left, printed


def _tescan_fields(instrument: Instrument, width_nm: float) -> Fields:
    kv, wd, mag, detector = _facts(instrument)
    shown = f"{float(f'{mag / 1000:.3g}'):g} kx" if mag >= 1000 else f"{mag:.0f} x"
    return {
        "SEM HV": f"{kv:.1f} kV",
        "WD": f"{wd:.2f} mm",
        "View field": length_label(width_nm),
        "SEM MAG": shown,
        "Det": detector,
    }


def _tescan(strip: _Canvas, label: str, bar_px: int, fields: Fields) -> tuple[int, int, Fields]:
    """A dark table, two rows of cells at the left, and at the right the bar as a bracket under its length."""
    font = strip.font(0.27)
    edge = max(5, strip.cols // 40)
    bar_left, row = strip.cols - edge - bar_px, int(0.78 * strip.rows)
    column = (bar_left - edge) / 3
    printed: Fields = {}
    for k, (heading, value) in enumerate(fields.items()):
        text, left, top = f"{heading}: {value}", (k // 2) * column, (k % 2) * strip.rows / 2
        if font.getlength(text) + 0.6 * font.size > column:
            continue
        strip.text(left + 0.4 * font.size, top + strip.rows / 4, text, font, 235, "lm")
        printed[heading] = value
    if printed:
        strip.line(strip.rows // 2, 0, int(3 * column), 1, 90)
        for k in (1, 2, 3):
            strip.upright(int(k * column), 0, strip.rows - 1, 90)
    strip.line(row, bar_left, bar_left + bar_px + 1, max(1, strip.rows // 22))
    strip.bar_ticks(bar_left, bar_px, row - strip.rows // 7, row)
    centre = min(bar_left + bar_px / 2, strip.cols - 2 - font.getlength(label) / 2)
    strip.text(centre, 0.36 * strip.rows, label, strip.font(0.3, bold=True), 255, "mm")
    return row, bar_left, printed


LOOKS = {
    "fei": Look(0.068, 0, 0.3, _fei_fields, _fei),
    "zeiss": Look(0.072, 0, 0.2, _zeiss_fields, _zeiss),
    "tescan": Look(0.076, 46, 0.26, _tescan_fields, _tescan),
}
