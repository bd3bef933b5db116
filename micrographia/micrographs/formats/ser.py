"""TIA series of FEI microscopes (.ser): a list of images or spectra, each with its own calibration.

After the description of the format by C. B. Boothroyd, "TIA file format". Numbers are little-endian.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrographia.errors import DamagedFile, NoImage, UnsupportedFormat
from micrographia.micrographs.header import Header, Pixels, Sample

SIGNATURE = re.compile(rb"II\x97\x01")
ONE_DIMENSIONAL, TWO_DIMENSIONAL = 0x4120, 0x4122
WIDE_OFFSETS = 0x0220
"""From this version on offsets have 64 bits."""
ELEMENT = "<ddiddihii"
"""Per axis: value at a pixel, step, that pixel; then the type and both sizes."""
DTYPES = {1: "u1", 2: "u2", 3: "u4", 4: "i1", 5: "i2", 6: "i4", 7: "f4", 8: "f8"}
"""By type; 9 and 10 are complex."""
SAMPLES: dict[str, Sample] = {"u": "unsigned", "i": "signed", "f": "float"}


@dataclass(frozen=True)
class Element:
    """The first image: its size, its values, and its steps along columns and rows, in metres."""

    rows: int
    columns: int
    dtype: np.dtype[Any]
    offset: int
    steps: tuple[float, float]
    elements: int
    """How many images the file says to hold."""


def element(data: bytes) -> Element:
    """The first image of the file. Raises ``NoImage`` for spectra."""
    version, kind, _, _, elements = _unpack("<Hiiii", data, 4)
    if kind == ONE_DIMENSIONAL:
        raise NoImage("it holds spectra or profiles, and no image", "name the file of the image")
    if kind != TWO_DIMENSIONAL:
        raise DamagedFile(f"it says to hold elements of kind {kind:#x}, which there is not")
    offset = "<q" if version >= WIDE_OFFSETS else "<i"
    (listed_at,) = _unpack(offset, data, 22)
    (start,) = _unpack(offset, data, listed_at)
    _, x_step, _, _, y_step, _, number, columns, rows = _unpack(ELEMENT, data, start)
    if number not in DTYPES:
        raise UnsupportedFormat(f"its values are of TIA's type {number}", "export the image as TIFF")
    if min(columns, rows) < 1:
        raise DamagedFile(f"its image claims {columns} x {rows} pixels")
    pixels_at = start + struct.calcsize(ELEMENT)
    return Element(rows, columns, np.dtype("<" + DTYPES[number]), pixels_at, (x_step, y_step), elements)


def inspect(data: bytes) -> Header:
    """Size and depth of the first image; the others count as pages."""
    first = element(data)
    bits, sample = 8 * first.dtype.itemsize, SAMPLES[first.dtype.kind]
    return Header("SER", first.rows, first.columns, 1, bits, sample, max(first.elements, 1))


def decode(data: bytes, header: Header) -> tuple[Pixels, tuple[str, ...]]:
    """The first image; TIA stores its lowest row first."""
    first = element(data)
    n_pixels = first.rows * first.columns
    if first.offset + n_pixels * first.dtype.itemsize > len(data):
        raise DamagedFile(f"its pixels reach beyond the end, byte {len(data)}: truncated")
    image = np.frombuffer(data, first.dtype, n_pixels, first.offset).reshape(first.rows, first.columns)
    notes = (f"the first of {header.pages} images was taken",) if header.pages > 1 else ()
    return np.ascontiguousarray(image[::-1].astype(first.dtype.newbyteorder("="))), notes


def _unpack(code: str, data: bytes, at: float) -> tuple[Any, ...]:
    place = int(at)
    if not 0 <= place <= len(data) - struct.calcsize(code):
        raise DamagedFile(f"it points to byte {place} of {len(data)}: truncated")
    return struct.unpack_from(code, data, place)
