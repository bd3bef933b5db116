"""Fields that overlap: one place seen in several images, shifted and re-lit, found by its landmarks.

Landmarks are corners (Shi and Tomasi, "Good features to track", CVPR 1994), spread evenly by adaptive
non-maximal suppression and told apart by the signs of their surroundings' cosine transform; images are
compared only where the landmarks agree, as when panoramas are stitched (Brown, Szeliski and Winder,
"Multi-image matching using multi-scale oriented patches", CVPR 2005). Found are shifted fields of one
magnification and orientation; turned or magnified copies are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter, maximum_filter

from micrographia.micrographs.duplicates import lowest_frequencies

VERSION = "corners 2"
"""Landmarks compare only where this is the same."""

LONGEST_SIDE = 512
"""Larger images are binned by a whole number, the same for images of one size."""
LANDMARKS = 128
CORNERS = 600
"""The strongest corners, among which the most widely spread are chosen."""
REACH = 16
"""Half the side of the square that describes a landmark, in pixels of the binned image."""
WORD_BITS = 128
LANDMARK = np.dtype([("row", "<u2"), ("column", "<u2"), ("word", "u1", WORD_BITS // 8)])

MAX_DISTANCE = 20
"""Bits in which two words for one place may differ: by chance 128 bits differ in 64."""
BAND_BYTES = 2
NEIGHBOURS = 32
"""Words with an equal band are compared with so many others that have it: what is everywhere, like the
rows of a grating, says little of where, and must not cost the square of its number."""
MIN_PLACES = 5
"""Places that agree on one shift, and lie in at least three of four rows and of four columns of the overlap.
Databars and labels agree too, between any two images of a maker, but in one row or two."""
MIN_ROWS = 3
MATCHES_LOOKED_AT = 2000


def landmarks(display: NDArray[np.uint8]) -> bytes:
    """Up to 128 landmarks of an image, packed; the first record holds the size of the binned image."""
    grey = gaussian_filter(_binned(display), 1.0)
    rows, columns = _spread_corners(grey)
    found = np.zeros(len(rows) + 1, LANDMARK)
    found["row"], found["column"] = [grey.shape[0], *rows], [grey.shape[1], *columns]
    if len(rows):
        found["word"][1:] = _words(grey, rows, columns)
    return found.tobytes()


def overlapping(packed: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """Pairs of ids whose images show one place in part or whole."""
    ids = sorted(packed)
    records = [np.frombuffer(packed[identity], LANDMARK) for identity in ids]
    if not records:
        return
    sizes = np.array([(record[0]["row"], record[0]["column"]) for record in records], np.int64)
    image = np.repeat(np.arange(len(ids)), [len(record) - 1 for record in records])
    everything = np.concatenate([record[1:] for record in records])
    places = np.stack([everything["row"], everything["column"]], axis=1).astype(np.int64)
    for pairs in _by_image(_matches(everything["word"], image), image):
        one, other = image[pairs[0]]
        here, there = places[pairs[:, 0]], places[pairs[:, 1]]
        if _share_a_place(here, there, sizes[one], sizes[other]):
            yield ids[one], ids[other]


def _binned(display: NDArray[np.uint8]) -> NDArray[np.float32]:
    factor = -(-max(display.shape[:2]) // LONGEST_SIDE)
    rows, columns = (size // factor for size in display.shape[:2])
    binned = np.zeros((rows, columns), np.float32)
    for row in range(factor):
        for column in range(factor):
            part = display[row : rows * factor : factor, column : columns * factor : factor]
            binned += part if part.ndim == 2 else part.mean(axis=-1, dtype=np.float32)
    binned /= factor**2
    return binned


def _spread_corners(grey: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of corners, each far from all that are clearly stronger."""
    strength = _cornerness(grey)
    peaks = (strength == maximum_filter(strength, 7)) & (strength > 1e-3)
    rows, columns = np.nonzero(peaks)
    strongest = np.argsort(-strength[rows, columns], kind="stable")[:CORNERS]
    rows, columns = rows[strongest], columns[strongest]
    strong = strength[rows, columns]
    apart = ((rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2).astype(np.float64)
    apart[0.9 * strong[None, :] <= strong[:, None]] = np.inf
    radius = apart.min(axis=1, initial=np.inf)
    chosen = np.argsort(-radius, kind="stable")[:LANDMARKS]
    return rows[chosen], columns[chosen]


def _cornerness(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """The smaller eigenvalue of the structure tensor; zero where a square would leave the image."""
    strength = np.zeros_like(grey)
    if min(grey.shape) <= 2 * REACH:
        return strength
    down, across = np.gradient(grey)
    a, b, c = (gaussian_filter(product, 2.0) for product in (down * down, down * across, across * across))
    smaller = (a + c) / 2 - np.sqrt(((a - c) / 2) ** 2 + b * b)
    inner = np.s_[REACH:-REACH, REACH:-REACH]
    strength[inner] = smaller[inner]
    return strength


def _words(grey: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.uint8]:
    squares = np.lib.stride_tricks.sliding_window_view(grey, (2 * REACH, 2 * REACH))
    waves = dctn(squares[rows - REACH, columns - REACH], axes=(1, 2), norm="ortho")
    return np.packbits(waves[(slice(None), *_LOWEST)] > 0, axis=1)


def _matches(words: NDArray[np.uint8], image: NDArray[np.intp]) -> NDArray[np.intp]:
    """Pairs of landmarks in different images with nearly the same word, by bands that are equal.

    Locality-sensitive hashing (Gionis, Indyk and Motwani, VLDB 1999): 20 flipped bits cannot well touch all
    of eight bands, for they fall on the high frequencies.
    """
    whole = np.ascontiguousarray(words).view(np.uint64)
    found = [np.empty((0, 2), np.intp)]
    for start in range(0, words.shape[1], BAND_BYTES):
        band = np.ascontiguousarray(words[:, start : start + BAND_BYTES]).view(np.uint16)[:, 0]
        order = np.argsort(band, kind="stable")
        for step in range(1, NEIGHBOURS + 1):
            equal = np.nonzero(band[order[step:]] == band[order[:-step]])[0]
            one, other = order[equal], order[equal + step]
            distance = np.bitwise_count(whole[one] ^ whole[other]).sum(axis=1)
            good = (distance <= MAX_DISTANCE) & (image[one] != image[other])
            found.append(np.stack([one[good], other[good]], axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _by_image(matches: NDArray[np.intp], image: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """The matches of each pair of images that has enough of them."""
    one, other = image[matches[:, 0]], image[matches[:, 1]]
    order = np.lexsort((other, one))
    matches, one, other = matches[order], one[order], other[order]
    borders = np.nonzero((np.diff(one) != 0) | (np.diff(other) != 0))[0] + 1
    for group in np.split(matches, borders):
        if len(group) >= MIN_PLACES:
            yield group[:MATCHES_LOOKED_AT]


def _share_a_place(
    here: NDArray[np.int64],
    there: NDArray[np.int64],
    size_here: NDArray[np.int64],
    size_there: NDArray[np.int64],
) -> bool:
    """Whether enough matched places agree on one shift, and are spread over the overlap it makes."""
    shifts = here - there
    agree = np.abs(shifts[:, None] - shifts).max(axis=-1) <= 1
    best = agree.sum(axis=1).argmax()
    places = np.unique(here[agree[best]], axis=0)
    low = np.maximum(0, shifts[best]) + REACH
    high = np.minimum(size_here, size_there + shifts[best]) - REACH
    quarter = np.clip((places - low) * 4 // np.maximum(high - low, 1), 0, 3)
    spread = min(len(np.unique(quarter[:, 0])), len(np.unique(quarter[:, 1])))
    return len(places) >= MIN_PLACES and spread >= MIN_ROWS


_LOWEST = lowest_frequencies(2 * REACH, WORD_BITS)
