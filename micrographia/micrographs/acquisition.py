"""How an image was taken, as it tells itself: its header, its databar and its scale bar, held together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from micrographia.catalog import Objects
from micrographia.micrographs.burnt_in import BurntIn, read_burnt_in
from micrographia.micrographs.display import grey_of, to_display
from micrographia.micrographs.read import Raster, decode
from micrographia.micrographs.vendors import read_header
from micrographia.records import Acquisition, Box, Instrument, Micrograph

VERSION = "2"
"""Raised when the same image is read otherwise: all are then read anew."""


def acquisition_of(objects: Objects, micrograph: Micrograph) -> Acquisition:
    """What a catalogued micrograph tells. Raises ``UnreadableFile`` where its bytes no longer can be read."""
    data = objects.get(micrograph.id)
    return read_acquisition(data, decode(data, name=micrograph.name))


def read_acquisition(data: bytes, raster: Raster) -> Acquisition:
    """What the file with the bytes ``data``, decoded as ``raster``, tells of how it was taken."""
    header = read_header(data, raster.header)
    grey = grey_of(to_display(raster.pixels)[0])
    printed = read_burnt_in(grey, header.databar_rows)
    return Acquisition(
        readings=header.readings + printed.readings,
        instrument=Instrument.first_known([header.instrument, printed.instrument]),
        field=_field(grey, printed),
        bar=_bar(printed),
        burnt_in=_on_the_field(grey, printed),
        missing=header.missing + printed.notes,
    )


def _field(grey: NDArray[np.uint8], printed: BurntIn) -> Box | None:
    if not printed.databar_top:
        return None
    return Box(top=0, left=0, bottom=printed.databar_top, right=grey.shape[1])


def _bar(printed: BurntIn) -> Box | None:
    if printed.bar is None:
        return None
    bar = printed.bar.bar
    return Box(top=bar.top, left=round(bar.left), bottom=bar.bottom, right=round(bar.right))


def _on_the_field(grey: NDArray[np.uint8], printed: BurntIn) -> tuple[Box, ...]:
    """Bar and label, with a margin, where they lie on the field."""
    if printed.bar is None or printed.databar_top is not None:
        return ()
    bar, word = printed.bar.bar, printed.bar.label.word
    margin = max(2, round(0.15 * word.height))
    sides = ((bar.top, bar.left, bar.bottom, bar.right), (word.top, word.left, word.bottom, word.right))
    rows, columns = grey.shape
    return tuple(
        Box(
            top=max(0, int(top) - margin),
            left=max(0, int(left) - margin),
            bottom=min(rows, int(bottom) + 1 + margin),
            right=min(columns, int(right) + 1 + margin),
        )
        for top, left, bottom, right in sides
    )
