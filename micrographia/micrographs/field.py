"""The field of an image: its display values without databar, and with print on them painted over.

What students see and measurements are taken on, so that no number is read off the print. The whole image is
``display.open_display``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from micrographia.catalog import Objects
from micrographia.micrographs.display import open_display
from micrographia.records import Box, Micrograph

Display = NDArray[np.uint8]
RING = 4
"""Pixels around print whose median it is painted with."""


def open_field(objects: Objects, micrograph: Micrograph) -> Display:
    """The field of a catalogued micrograph, made from its original bytes as its record says."""
    return field_of(open_display(objects, micrograph), micrograph.field, micrograph.burnt_in)


def field_of(display: Display, field: Box | None, burnt_in: Sequence[Box]) -> Display:
    """``display``, (rows, columns) or (rows, columns, 3), cut to ``field``, ``burnt_in`` painted over."""
    if burnt_in:
        display = display.copy()
        for box in burnt_in:
            display[box.top : box.bottom, box.left : box.right] = _around(display, box)
    if field is not None:
        display = display[field.top : field.bottom, field.left : field.right]
    return np.ascontiguousarray(display)


def _around(display: Display, box: Box) -> Display:
    """The median of the pixels around ``box``, for each channel."""
    rows, columns = display.shape[:2]
    outer = (
        max(0, box.top - RING),
        min(rows, box.bottom + RING),
        max(0, box.left - RING),
        min(columns, box.right + RING),
    )
    ring = np.ones((rows, columns), bool)[outer[0] : outer[1], outer[2] : outer[3]]
    ring[box.top - outer[0] : box.bottom - outer[0], box.left - outer[2] : box.right - outer[2]] = False
    around = display[outer[0] : outer[1], outer[2] : outer[3]][ring]
    if not around.size:
        return np.zeros(display.shape[2:], np.uint8)
    return np.asarray(np.median(around, axis=0), np.uint8)
