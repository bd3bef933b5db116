"""Near duplicates: the same picture scaled, recompressed or re-exposed, found by an index and clustered.

The fingerprint is a perceptual hash in the manner of pHash (Zauner, "Implementation and benchmarking of
perceptual image hash functions", 2010), with 256 signs instead of 64: on textures 64 collide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.sparse import csr_array

THUMBNAIL_SIDE = 32
FINGERPRINT_BITS = 256
FLATTEST = 0.5
"""Grey levels of contrast in the thumbnail below which it holds only rounding, and no fingerprint is made."""
MAX_DISTANCE = 40
"""Bits that may differ. Measured: scaling, JPEG at quality 30, gamma, contrast and noise flip up to 40;
different images of one texture class differ in 80 and more, the same place re-lit in 30 to 80."""
HASHES, BITS_PER_HASH, FLIPS = 16, 16, 1
"""Two codes meet in the index if one of their 16 words differs in at most one bit: with 40 bits that differ
this fails only if they are spread evenly, and they lie in the words of high frequencies."""
ROWS_AT_ONCE = 512


def fingerprint(display: NDArray[np.uint8]) -> str:
    """Signs of the 256 lowest frequencies of the image, lowest first, as 64 hexadecimal digits.

    The cosine transform is taken of the area average over 32 x 32 cells, so that size does not matter; signs
    do not change with brightness and contrast. Empty for an image without contrast.
    """
    small = thumbnail(display)
    if small.std() < FLATTEST:
        return ""
    coefficients = dctn(small, norm="ortho")[_LOWEST]
    return np.packbits(coefficients > 0).tobytes().hex()


def thumbnail(display: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Area averages over a grid of 32 x 32 cells; colour counts by its mean."""
    down, across = _cells(display.shape[0]), _cells(display.shape[1])
    small = np.zeros((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    for start in range(0, len(display), ROWS_AT_ONCE):
        rows = display[start : start + ROWS_AT_ONCE].astype(np.float64)
        grey = rows if rows.ndim == 2 else rows.mean(axis=-1)
        small += down[:, start : start + ROWS_AT_ONCE] @ (across @ grey.T).T
    return small


def close(fingerprints: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Pairs of ids whose fingerprints differ in at most ``MAX_DISTANCE`` bits."""
    ids = sorted(identity for identity, code in fingerprints.items() if code)
    if not ids:
        return
    packed = np.array([list(bytes.fromhex(fingerprints[identity])) for identity in ids], np.uint8)
    index = faiss.IndexBinaryMultiHash(FINGERPRINT_BITS, HASHES, BITS_PER_HASH)
    index.nflip = FLIPS
    index.add(packed)
    limits, _, found = index.range_search(packed, MAX_DISTANCE + 1)  # faiss keeps distances below the radius
    for i, identity in enumerate(ids):
        yield from ((identity, ids[j]) for j in found[limits[i] : limits[i + 1]] if j > i)


def lowest_frequencies(side: int, count: int) -> tuple[NDArray[np.intp], ...]:
    """Row and column indices of the lowest spatial frequencies of a cosine transform, without the mean."""
    row, column = np.mgrid[:side, :side]
    order = np.lexsort((column.ravel(), row.ravel(), (row**2 + column**2).ravel()))
    return np.unravel_index(order[1 : count + 1], row.shape)


@lru_cache(maxsize=64)
def _cells(size: int) -> csr_array:
    """Weights (32, size) of an exact area average: a cell takes part of the pixels it cuts.

    Sparse, and so without the threads of a dense product, which wait for each other when images are small.
    """
    edges = np.linspace(0, size, THUMBNAIL_SIDE + 1)
    pixels = np.arange(size)
    low, high = edges[:-1, None], edges[1:, None]
    covered = np.clip(np.minimum(high, pixels + 1) - np.maximum(low, pixels), 0, None)
    return csr_array(covered * THUMBNAIL_SIDE / size)


_LOWEST = lowest_frequencies(THUMBNAIL_SIDE, FINGERPRINT_BITS)
