"""Spots and lines that stand out of the working view; nothing is segmented, shapes answer to filters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from micrographia.measure.measurement import measurement
from micrographia.measure.view import Grey, View

SPOT_SIGMAS = (2.0, 2.83, 4.0, 5.66)
"""Scales of the spot filter, in 1/128 of the shorter side; a disc 2 sqrt(2) sigma across answers most."""

SPOT_RESPONSE = 0.2
"""Least answer of the spot filter, as a part of the grey range. A full-range disc at its scale gives 2/e."""

ROUNDEST = 2.0
"""Largest ratio of a spot's two principal curvatures; more is a line or an edge."""

HALO = 0.4
"""A spot answers at least so much of what one of the other sign beside it does: less is that one's halo."""

LINE_SIGMAS = (1.5, 3.0)
"""Scales of the line filter, in 1/128 of the shorter side."""

LINE_RESPONSE = 0.1
"""Least answer of the line filter, as a part of the grey range; a full-range edge gives 0.067 at most."""

LINE_LENGTH = 25.0
"""Least length of a line, in 1/128 of the shorter side."""

LINE_SLENDERNESS = 4.0
"""Least length over width of a line."""

LEAST_RANGE = 17.0
"""A smaller grey range, in grey levels, is taken for this one, so that a flat image shows no spots."""


def _threshold(view: View, response: float) -> float:
    return response * max(view.structure_range, LEAST_RANGE)


@measurement(
    "dark spots",
    "",
    f"count of dark Laplacian-of-Gaussian maxima, sigma {SPOT_SIGMAS[0]:g} to {SPOT_SIGMAS[-1]:g}/128 of the "
    f"shorter side, round to {ROUNDEST:g} and stronger than {SPOT_RESPONSE:g} of the p1-p99 range of grey "
    "less shading",
)
def dark_spots(view: View) -> float:
    """Number of round spots darker than what surrounds them; see ``_count_spots``."""
    return _count_spots(view, dark=True)


@measurement("bright spots", "", "as dark spots, of the inverted working view")
def bright_spots(view: View) -> float:
    """Number of round spots brighter than what surrounds them; see ``_count_spots``."""
    return _count_spots(view, dark=False)


def _count_spots(view: View, dark: bool) -> int:
    """Round spots, about 4 to 13 % of the shorter side across.

    Maxima over position and scale of the scale-normalised Laplacian of Gaussian (Lindeberg 1998,
    doi:10.1023/A:1008045108935) whose principal curvatures differ by no more than ROUNDEST (the edge test
    of Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94). The filter answers beside a strong spot with the
    other sign: such halos are no spots.
    """
    pairs = [view.curvatures(sigma) for sigma in SPOT_SIGMAS]
    large = np.stack([large if dark else -small for large, small in pairs])
    small = np.stack([small if dark else -large for large, small in pairs])
    answer = large + small
    side = 2 * round(view.pixels(SPOT_SIGMAS[0])) + 1
    peak = answer == ndimage.maximum_filter(answer, size=(len(SPOT_SIGMAS), side, side))
    peak &= (answer > _threshold(view, SPOT_RESPONSE)) & (large < ROUNDEST * small)
    peak &= answer > HALO * _opposite_nearby(view, answer)
    scale, row, column = np.nonzero(peak)
    radii = np.sqrt(2) * np.array([view.pixels(sigma) for sigma in SPOT_SIGMAS])[scale]
    return _apart(np.stack([row, column], axis=1), radii, answer[peak])


def _opposite_nearby(view: View, answer: Grey) -> Grey:
    """For each scale the largest answer of the other sign within three of its sigmas."""
    other = -answer.min(axis=0)
    sides = [2 * round(3 * view.pixels(sigma)) + 1 for sigma in SPOT_SIGMAS]
    return np.stack([ndimage.maximum_filter(other, side) for side in sides])


def _apart(places: NDArray[np.intp], radii: Grey, strengths: Grey) -> int:
    """How many spots are left when one whose centre lies within a stronger one is dropped."""
    kept: list[int] = []
    for i in np.argsort(-strengths):
        distances = np.hypot(*(places[kept] - places[i]).T)
        if np.all(distances > radii[kept]):
            kept.append(int(i))
    return len(kept)


@measurement(
    "line area",
    "%",
    f"area of straight ridges and grooves of the working view, sigma {LINE_SIGMAS[0]:g} and "
    f"{LINE_SIGMAS[-1]:g}/128 of the shorter side, stronger than {LINE_RESPONSE:g} of the p1-p99 range of "
    f"grey less shading, longer than {LINE_LENGTH:g}/128 of the shorter side and "
    f"{LINE_SLENDERNESS:g} times their width",
)
def line_area(view: View) -> float:
    """Share of the area that lies on straight bright or dark lines, %.

    A pixel's answer is its larger principal curvature, less the magnitude of the smaller so that spots do
    not count, less the magnitude of the scale-normalised gradient so that the sides of edges do not: on the
    middle of a line the gradient is zero, on the side of an edge it outweighs the curvature. The larger
    answer of the two scales counts.
    """
    least = _threshold(view, LINE_RESPONSE)
    answers = [_line_answers(view, sigma) for sigma in LINE_SIGMAS]
    masks = (np.max(scales, axis=0) > least for scales in zip(*answers, strict=True))
    return 100 * sum(_slender_area(view, mask) for mask in masks) / view.grey.size


def _line_answers(view: View, sigma: float) -> tuple[Grey, Grey]:
    """Answers to dark and to bright lines of the width of ``sigma``."""
    large, small = view.curvatures(sigma)
    width = view.pixels(sigma)
    slope = width * np.asarray(ndimage.gaussian_gradient_magnitude(view.grey, width))
    return large - np.abs(small) - slope, -small - np.abs(large) - slope


def _slender_area(view: View, mask: NDArray[np.bool_]) -> float:
    """Pixels of the connected regions of ``mask`` that are long and slender."""
    labels, n = ndimage.label(mask, structure=np.ones((3, 3)))
    length, width, area = _extents(labels, n)
    slender = (length > view.pixels(LINE_LENGTH)) & (length > LINE_SLENDERNESS * width)
    return float(area[slender].sum())


def _extents(labels: NDArray[np.int32], n: int) -> tuple[Grey, Grey, Grey]:
    """Axes of the ellipses with the second moments of regions 1 ... ``n``, and their areas, in pixels."""
    row, column = np.nonzero(labels)
    region = labels[row, column] - 1
    area = np.bincount(region, minlength=n).astype(np.float64)

    def mean(values: Grey) -> Grey:
        return np.bincount(region, values, minlength=n) / area

    r = row - mean(row.astype(np.float64))[region]
    c = column - mean(column.astype(np.float64))[region]
    # A pixel is a square, not a point: its own second moment is 1/12.
    rr, rc, cc = mean(r * r) + 1 / 12, mean(r * c), mean(c * c) + 1 / 12
    middle, half = (rr + cc) / 2, np.hypot((rr - cc) / 2, rc)
    return 4 * np.sqrt(middle + half), 4 * np.sqrt(middle - half), area
