"""An image that is in no workspace, opened as an ingested one would be: field, scale and settings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from micrographia.micrographs.acquisition import read_acquisition
from micrographia.micrographs.display import to_display
from micrographia.micrographs.field import field_of
from micrographia.micrographs.limits import Limits
from micrographia.micrographs.read import decode, load
from micrographia.micrographs.sidecars import sidecar_texts
from micrographia.micrographs.vendors import read_sidecar
from micrographia.micrographs.walk import readable
from micrographia.records import Box, Instrument, Scale


@dataclass(frozen=True)
class Picture:
    """One image, and what it and the text files beside it tell of its taking."""

    name: str
    identity: str
    """sha256 of the file's bytes, as a workspace knows it."""
    display: NDArray[np.uint8]
    """(rows, columns) or (rows, columns, 3), databar and all."""
    field: NDArray[np.uint8]
    """Without databar and print."""
    box: Box | None
    """Where the field lies in the display; None where it is all of it."""
    burnt_in: tuple[Box, ...]
    """Print that was painted over in the field."""
    bar: Box | None
    """The scale bar as it was read, in the display."""
    scale: Scale
    instrument: Instrument
    bits: int
    """Of each value, as stored."""
    notes: tuple[str, ...]
    """What the reader had to leave or assume."""
    missing: tuple[str, ...]
    label: str | None = None
    """Its class: of an image in no workspace it is not known."""

    @property
    def width(self) -> int:
        """Columns of the whole image."""
        return int(self.display.shape[1])

    @property
    def height(self) -> int:
        """Rows of the whole image."""
        return int(self.display.shape[0])


def open_picture(path: Path, limits: Limits | None = None) -> Picture:
    """Raises ``UnreadableFile`` where it is not an image that can be read."""
    limits = limits or Limits()
    return picture_of(load(path, limits), readable(path.name), sidecar_texts(path), limits)


def picture_of(
    data: bytes, name: str, sidecars: Sequence[bytes] = (), limits: Limits | None = None
) -> Picture:
    """The image in the bytes ``data``, with the text files that its instrument wrote beside it."""
    raster = decode(data, limits, name)
    display, _ = to_display(raster.pixels)
    told = read_acquisition(data, raster)
    beside = [read_sidecar(text, *display.shape[:2]) for text in sidecars]
    return Picture(
        name=name,
        identity=hashlib.sha256(data).hexdigest(),
        display=display,
        field=field_of(display, told.field, told.burnt_in),
        box=told.field,
        burnt_in=told.burnt_in,
        bar=told.bar,
        scale=Scale.of(told.readings + tuple(r for text in beside for r in text.readings)),
        instrument=Instrument.first_known([told.instrument, *(text.instrument for text in beside)]),
        bits=raster.header.bits,
        notes=raster.notes,
        missing=told.missing + tuple(line for text in beside for line in text.missing),
    )
