"""What the header of an image file says of its pixels, in the same words for every format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Format: TypeAlias = Literal["PNG", "JPEG", "BMP", "TIFF", "DM", "EMD", "SER", "MRC"]
Sample: TypeAlias = Literal["unsigned", "signed", "float"]
Pixels: TypeAlias = NDArray[Any]
"""Stored values: (rows, columns), or (rows, columns, 3) for colour."""


@dataclass(frozen=True)
class Header:
    """The image as it is stored in the file: before turning, and with alpha and palette as they are."""

    format: Format
    rows: int
    columns: int
    channels: int
    """Values stored for each pixel, alpha included; 1 for an image with a palette."""
    bits: int
    """Bits of each value."""
    sample: Sample = "unsigned"
    pages: int = 1
    orientation: int = 1
    """EXIF/TIFF tag 274: 1 is upright, 2-8 are to be turned or mirrored (TIFF 6.0, page 36)."""

    @property
    def decoded_bytes(self) -> int:
        """Memory of the decoded array, counted as the three channels a palette may turn into."""
        channels = 3 if self.channels == 1 and self.bits <= 8 else self.channels
        return self.rows * self.columns * channels * ((self.bits + 7) // 8)


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """``pixels`` turned and mirrored as the orientation code asks (TIFF 6.0, tag 274)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
