"""What is printed into an image: its databar, and its scale bar with the label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from micrographia.micrographs.databar import Printed, find_databar, labels_in, top_by_print, understood
from micrographia.micrographs.scale_bar import (
    MOST_STROKES,
    SHORTEST,
    Bar,
    find_strokes,
    measured,
    parted,
    ticks,
)
from micrographia.micrographs.vendors.tags import LARGEST_PIXEL_NM, SMALLEST_PIXEL_NM
from micrographia.micrographs.words import Word, read_words
from micrographia.records import Instrument, ScaleReading

Grey = NDArray[np.uint8]

NEAREST, NEAREST_IN_DATABAR = 3.0, 8.0
"""A label is no farther from its bar than so many heights of its letters."""


@dataclass(frozen=True)
class LabelledBar:
    """A scale bar and the length printed beside it."""

    bar: Bar
    label: Printed

    @property
    def reading(self) -> ScaleReading:
        """The pixel size that they give together."""
        return ScaleReading(
            source="scale bar",
            pixel_size_nm=self.label.nanometres / self.bar.length,
            relative_uncertainty=self.bar.uncertainty / self.bar.length,
            detail=f"{self.label.text} = {self.bar.length:.1f} px",
        )


@dataclass(frozen=True)
class BurntIn:
    """Everything printed into one image."""

    databar_top: int | None
    bar: LabelledBar | None
    instrument: Instrument
    readings: tuple[ScaleReading, ...]
    notes: tuple[str, ...]
    words: tuple[Word, ...] = ()


NOTHING = BurntIn(None, None, Instrument(), (), ())


def read_burnt_in(grey: Grey, databar_rows: int | None = None) -> BurntIn:
    """What is printed into ``grey`` (rows, columns); ``databar_rows`` where its header tells them."""
    top = grey.shape[0] - databar_rows if databar_rows else find_databar(grey)
    if top is not None:
        in_databar = _in_databar(grey, top)
        if in_databar.bar or databar_rows or in_databar.words:
            return in_databar
    return _in_field(grey)


def _in_databar(grey: Grey, top: int) -> BurntIn:
    strip = np.ascontiguousarray(grey[top:])
    words = read_words(strip)
    fields = understood(words)
    lengths = [p for p in labels_in(words) if fields.field_width is None or p.text != fields.field_width.text]
    ground = float(np.argmax(np.bincount(strip.ravel(), minlength=256)))
    bar = _labelled(strip, lengths, ticks(strip, ground), NEAREST_IN_DATABAR)
    told, notes = _told(bar, lengths)
    readings: list[ScaleReading] = [told.reading] if told else []
    if fields.field_width and fields.field_width.doubt:
        notes += (f"field width: {fields.field_width.text!r}: {fields.field_width.doubt}",)
    elif fields.field_width:
        width = fields.field_width
        readings.append(
            ScaleReading(
                source="field width",
                pixel_size_nm=width.nanometres / grey.shape[1],
                relative_uncertainty=max(width.relative_rounding, 0.001),
                detail=f"{width.text} over {grey.shape[1]} px",
            )
        )
    moved = None if told is None else LabelledBar(told.bar.moved(top, 0), told.label)
    return BurntIn(
        top,
        moved,
        fields.instrument,
        tuple(readings),
        notes,
        tuple(w.moved(top, 0) for w in words),
    )


def _in_field(grey: Grey) -> BurntIn:
    """A bar that lies on the specimen: only where there is a stroke that may be one is print looked for."""
    strokes = find_strokes(grey)
    if not strokes or len(strokes) > MOST_STROKES:
        return NOTHING
    words = read_words(grey)
    if (top := top_by_print(words, grey.shape[0])) is not None:
        return _in_databar(grey, top)
    lengths = labels_in(words)
    bar, notes = _told(_labelled(grey, lengths, [], NEAREST), lengths)
    return BurntIn(None, bar, Instrument(), (bar.reading,) if bar else (), notes, tuple(words))


def _told(bar: LabelledBar | None, lengths: Sequence[Printed]) -> tuple[LabelledBar | None, tuple[str, ...]]:
    """The bar where its label is plain, and what has to be said where it is not, or where there is none."""
    if bar is not None and bar.label.doubt:
        return None, (f"scale bar: {bar.label.text!r}: {bar.label.doubt}",)
    if bar is not None and not SMALLEST_PIXEL_NM <= bar.reading.pixel_size_nm <= LARGEST_PIXEL_NM:
        return None, (f"scale bar: {bar.reading.detail} gives a pixel that no micrograph has",)
    if bar is None and lengths:
        return None, (f"scale bar: {lengths[0].text!r} is printed, and no bar was found that it belongs to",)
    return bar, ()


def _labelled(
    grey: Grey, lengths: Sequence[Printed], rows_of_ticks: Sequence[Bar], nearest: float
) -> LabelledBar | None:
    """The bar and label that lie nearest to each other."""
    strokes = find_strokes(grey)
    whole = [measured(grey, stroke) for stroke in strokes if stroke.length >= SHORTEST]
    pairs = [
        (distance, -bar.length, LabelledBar(bar, length))
        for length in lengths
        for bar in (*parted(grey, strokes), *rows_of_ticks, *whole)
        if (distance := _distance(bar, length.word)) is not None and distance <= nearest
    ]
    return min(pairs, key=lambda pair: pair[:2])[2] if pairs else None


def _distance(bar: Bar, word: Word) -> float | None:
    """How far a label is from a bar, in heights of its letters; None where it cannot be the bar's."""
    height = max(word.height, 1.0)
    middle_of_bar, middle_of_word = (bar.top + bar.bottom) / 2, (word.top + word.bottom) / 2
    if bar.kind == "parted stroke":
        inside = bar.left < (word.left + word.right) / 2 < bar.right
        return 0.0 if inside and abs(middle_of_bar - middle_of_word) < 0.6 * height else None
    across = max(0.0, word.left - bar.right, bar.left - word.right)
    down = max(0.0, word.top - bar.bottom, bar.top - word.bottom)
    if across > 0 and abs(middle_of_bar - middle_of_word) > 1.5 * height:
        return None
    return float(np.hypot(across, down)) / height
