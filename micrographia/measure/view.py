"""The working view: the grey image that every measurement but noise is taken on, and its parts."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Grey = NDArray[np.float64]
"""Grey values, 0 to 255, (rows, columns)."""

WORKING_SIDE = 128
"""Pixels of the working view's shorter side: what a small student sees of the image."""

SMALLEST_SIDE = 64
"""Below this shorter side, in pixels, nothing is measured: the filters would be under a pixel wide."""

LONGEST_STRIP = 32
"""An image that is more times as long as wide is not measured: the time it takes grows with the length."""

FINE_SIGMA = 3.0
"""Gaussian sigma, in 1/WORKING_SIDE of the shorter side, that parts fine structure from larger."""

PER_CENT_OF_RANGE = 100 / 255
"""Grey levels to per cent of the display range."""


def working_view(grey: Grey) -> View:
    """``grey`` (rows, columns) with its shorter side reduced to WORKING_SIDE by area averaging.

    The aspect ratio is kept and a smaller image is not enlarged. Averaging removes what only the full
    resolution shows (pixel noise above all), so that values of differently sized images compare.
    """
    factor = max(min(grey.shape) / WORKING_SIDE, 1.0)
    rows, columns = (round(n / factor) for n in grey.shape)
    # Rounded far below a grey level, so that equal pixels stay equal whichever way they were summed.
    return View(np.round(area_means(grey, rows, columns), 6))


def area_means(values: Grey, rows: int, columns: int) -> Grey:
    """``values`` cut into ``rows`` times ``columns`` equal rectangles, each with its mean.

    A pixel that is cut counts in each rectangle by its part, so the result turns and mirrors with the image.
    """
    return np.ascontiguousarray(_means(np.ascontiguousarray(_means(values, rows).T), columns).T)


def _means(values: Grey, n_out: int) -> Grey:
    """The first axis cut into ``n_out`` equal lengths, each with its mean."""
    n_in = values.shape[0]
    edges = np.arange(n_out + 1) * n_in / n_out
    out = np.empty((n_out, *values.shape[1:]))
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        first, last = int(np.floor(low)), min(int(np.ceil(high)), n_in)
        places = np.arange(first, last)
        weights = np.minimum(places + 1, high) - np.maximum(places, low)
        out[i] = (weights / weights.sum()) @ values[first:last]
    return out


@dataclass(frozen=True)
class View:
    """Grey values (rows, columns) and what several measurements take from them, each worked out once.

    Lengths of filters are given in 1/WORKING_SIDE of the shorter side.
    """

    grey: Grey
    _curvatures: dict[float, tuple[Grey, Grey]] = field(default_factory=dict, init=False, repr=False)

    def pixels(self, length: float) -> float:
        """``length`` in pixels of this view."""
        return length * float(min(self.grey.shape)) / WORKING_SIDE

    @cached_property
    def percentiles(self) -> tuple[float, float, float, float]:
        """Grey below which 1, 5, 95 and 99 % of the pixels lie."""
        p1, p5, p95, p99 = np.percentile(self.grey, [1, 5, 95, 99])
        return float(p1), float(p5), float(p95), float(p99)

    @cached_property
    def structure_range(self) -> float:
        """Range of grey, shading removed, without the darkest and the brightest 1 %, in grey levels."""
        low, high = np.percentile(self.grey - self.shading, [1, 99])
        return float(high - low)

    @cached_property
    def fine(self) -> Grey:
        """The fine structure: grey less a Gaussian of FINE_SIGMA."""
        return np.asarray(self.grey - ndimage.gaussian_filter(self.grey, self.pixels(FINE_SIGMA)))

    @cached_property
    def shading(self) -> Grey:
        """The least-squares quadratic surface through the grey values: their slow change."""
        r, c = np.meshgrid(*(np.linspace(-1, 1, n) for n in self.grey.shape), indexing="ij")
        terms = np.stack([np.ones_like(r), r, c, r * r, r * c, c * c], axis=-1).reshape(-1, 6)
        # Normal equations: six well-scaled terms over thousands of pixels, so squaring loses nothing.
        coefficients = np.linalg.solve(terms.T @ terms, terms.T @ self.grey.ravel())
        return np.asarray(terms @ coefficients).reshape(self.grey.shape)

    def curvatures(self, sigma: float) -> tuple[Grey, Grey]:
        """Larger and smaller principal curvature of grey after a Gaussian, times sigma squared in pixels.

        Scale-normalised as in Lindeberg (1998), doi:10.1023/A:1008045108935.
        """
        if sigma not in self._curvatures:
            self._curvatures[sigma] = self._principal_curvatures(sigma)
        return self._curvatures[sigma]

    def _principal_curvatures(self, sigma: float) -> tuple[Grey, Grey]:
        width = self.pixels(sigma)
        p = np.pad(ndimage.gaussian_filter(self.grey, width), 1, mode="symmetric")
        rr = p[2:, 1:-1] - 2 * p[1:-1, 1:-1] + p[:-2, 1:-1]
        cc = p[1:-1, 2:] - 2 * p[1:-1, 1:-1] + p[1:-1, :-2]
        rc = (p[2:, 2:] - p[2:, :-2] - p[:-2, 2:] + p[:-2, :-2]) / 4
        mean, half = (rr + cc) / 2, np.hypot((rr - cc) / 2, rc)
        return width**2 * (mean + half), width**2 * (mean - half)
