"""The one place where bit depth is reduced: stored values to 8-bit grey or RGB, by stated percentiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from micrographia.catalog import Objects
from micrographia.micrographs.header import Pixels
from micrographia.micrographs.read import decode
from micrographia.records import Display, Micrograph

LOW_PERCENTILE, HIGH_PERCENTILE = 0.1, 99.9
"""Hot pixels, charging and cosmic rays lie beyond these; no more than 0.2 % of an image saturates."""
SAMPLE_SIZE = 4_000_000
"""Wider values than 16 bits are ranked over this many pixels drawn with a fixed seed, if there are more.
At 0.1 % the share found then errs by 0.0016 % (one standard deviation), a sixtieth of what it measures."""
BLOCK_VALUES = 1 << 22
UINT8 = Display(black=0, white=255)


def to_display(pixels: Pixels) -> tuple[NDArray[np.uint8], Display]:
    """8-bit values of an image, (rows, columns) or (rows, columns, 3), and how they were made.

    uint8 passes untouched. Any other depth is stretched linearly between its 0.1 and 99.9 percentiles,
    taken over all three channels together so that colours keep their balance. An image in which these
    coincide, as in a sparse mask, is stretched between its extremes; one of a single value is black.
    Colour whose three channels are equal is grey.
    """
    pixels = _grey_if_equal(pixels)
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels), UINT8
    display = _range(pixels)
    return _stretched(pixels, display), display


def luma(display: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The grey of display values, (rows, columns) or (rows, columns, 3), not rounded.

    Colour becomes ITU-R BT.601 luma, 0.299 R + 0.587 G + 0.114 B. Raises ValueError for any other shape.
    """
    if display.ndim == 2:
        return display.astype(np.float64)
    if display.ndim == 3 and display.shape[2] == 3:
        return np.asarray(display @ np.array([0.299, 0.587, 0.114]))
    raise ValueError(f"a display image is (rows, columns) or (rows, columns, 3), not {display.shape}")


def grey_of(display: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Their luma, rounded."""
    return display if display.ndim == 2 else np.rint(luma(display)).astype(np.uint8)


def open_display(objects: Objects, micrograph: Micrograph) -> NDArray[np.uint8]:
    """The display image of a catalogued micrograph, made from its original bytes as its record says."""
    pixels = _grey_if_equal(decode(objects.get(micrograph.id), name=micrograph.name).pixels)
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    return _stretched(pixels, micrograph.display)


def _grey_if_equal(pixels: Pixels) -> Pixels:
    if pixels.ndim == 2:
        return pixels
    red, green, blue = (pixels[..., i] for i in range(3))
    return red if np.array_equal(red, green) and np.array_equal(red, blue) else pixels


def _range(pixels: Pixels) -> Display:
    low, high = _percentiles(pixels)
    if low < high:
        return Display(black=low, white=high, low_percentile=LOW_PERCENTILE, high_percentile=HIGH_PERCENTILE)
    low, high = float(pixels.min()), float(pixels.max())
    high = high if low < high else float(max(low + 1, np.nextafter(low, np.inf)))
    return Display(black=low, white=high, low_percentile=0, high_percentile=100)


def _percentiles(pixels: Pixels) -> tuple[float, float]:
    """The values below or at which 0.1 % and 99.9 % of the pixels lie (inverse of the distribution)."""
    if pixels.dtype.itemsize <= 2 and pixels.dtype.kind in "ui":
        return _percentiles_by_histogram(pixels)
    values = pixels.reshape(-1)
    if values.size > SAMPLE_SIZE:
        values = values[np.random.default_rng(0).integers(0, values.size, SAMPLE_SIZE)]
    wanted = [LOW_PERCENTILE, HIGH_PERCENTILE]
    low, high = np.percentile(values.astype(np.float64), wanted, method="inverted_cdf")
    return float(low), float(high)


def _percentiles_by_histogram(pixels: Pixels) -> tuple[float, float]:
    smallest, n_values = np.iinfo(pixels.dtype).min, 2 ** (8 * pixels.dtype.itemsize)
    counts = np.zeros(n_values, np.int64)
    for block in _blocks(pixels):
        counts += np.bincount(block.reshape(-1).astype(np.int64) - smallest, minlength=n_values)
    share = np.cumsum(counts) / pixels.size
    low, high = np.searchsorted(share, [LOW_PERCENTILE / 100, HIGH_PERCENTILE / 100])
    return float(low + smallest), float(high + smallest)


def _stretched(pixels: Pixels, display: Display) -> NDArray[np.uint8]:
    out = np.empty(pixels.shape, np.uint8)
    for block, target in zip(_blocks(pixels), _blocks(out), strict=True):
        # halved, because white - black overflows where float64 spans its whole range
        share = (block.astype(np.float64) / 2 - display.black / 2) / (display.white / 2 - display.black / 2)
        target[...] = np.rint(np.clip(share, 0, 1) * 255)
    return out


def _blocks(pixels: Pixels) -> list[Pixels]:
    """Views of whole rows, small enough that a float64 copy of one costs little."""
    rows = max(1, BLOCK_VALUES * len(pixels) // pixels.size)
    return [pixels[start : start + rows] for start in range(0, len(pixels), rows)]
