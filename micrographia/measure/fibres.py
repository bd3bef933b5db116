"""Fibres and wires: width across, direction along, by pairs of facing edges; no mask is needed.

In a mat the upper fibres hide the lower, and no threshold parts them. But each fibre that is seen has two
edges that face each other, so a ray that leaves one edge along the gradient meets the other at the width
(stroke width, Epshtein, Ofek and Wexler 2010, doi:10.1109/CVPR.2010.5540041).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from micrographia.measure.particles import median_interval
from micrographia.records import Measurement, Quantity

Grey = NDArray[np.float64]
Values = NDArray[np.float64]

FINE = 1.2
"""Gaussian sigma, pixels, at which an edge is placed."""
SCALES = (1.2, 2.0, 3.2, 5.0, 8.0, 12.0)
"""Sigmas at which pairs of edges are looked for: the sides of a fibre glow, and only blurred is it one bright
stroke. The scale counts at which the rays cover most of the image."""
LEAST_OVER_SCALE = 2.5
"""A fibre is so many sigmas wide: narrower ones are made by the blur."""
STRONG_EDGE = 0.25
"""Least gradient of an edge, as a part of the 99th percentile of gradients."""
FACING = 0.9
"""Cosine between a gradient and the reverse of that of the edge it meets: 26 degrees."""
WIDEST_SHARE = 0.35
"""Of the shorter side that a fibre is wide at most."""
LEAST_WIDTH_PX = 4.0
FEWEST_RAYS = 200
METHOD = "version 1"


@dataclass(frozen=True)
class Rays:
    """Rays across fibres: where they begin, how long they are, and which way the fibre runs there."""

    starts: Values
    """(n, 2) row and column."""
    widths: Values
    """(n,) pixels."""
    units: Values
    """(n, 2) the direction of each ray, (row, column), of length 1."""
    scale: float
    """The sigma, in pixels, at which they were found."""

    @property
    def directions(self) -> Values:
        """(n,) along the fibre, a quarter turn from the ray: degrees from growing columns, anticlockwise."""
        return np.asarray(np.rad2deg(np.arctan2(self.units[:, 1], self.units[:, 0])) % 180)


def rays_across(grey: Grey) -> Rays:
    """Rays from an edge to the edge that faces it, over what is brighter than its surroundings."""
    widest = WIDEST_SHARE * min(grey.shape)
    looks = [
        _agreeing(_rays_at(grey, s, widest), grey.shape) for s in SCALES if LEAST_OVER_SCALE * s < widest
    ]
    best = max(looks, key=lambda rays: float(rays.widths.sum()))
    return _placed(grey, best)


def _rays_at(grey: Grey, scale: float, widest: float) -> Rays:
    """At one scale, edges where the gradient is largest there."""
    down, across = (np.asarray(ndimage.gaussian_filter(grey, scale, order)) for order in ((1, 0), (0, 1)))
    strength = np.hypot(down, across)
    rows, columns, place = _edges(strength, down, across)
    unit = np.stack([down[rows, columns], across[rows, columns]], 1) / strength[rows, columns][:, None]
    is_edge = np.zeros(grey.shape, bool)
    is_edge[rows, columns] = True
    widths = _meet(place, unit, is_edge, down, across, strength, widest)
    met = np.isfinite(widths) & (widths >= LEAST_OVER_SCALE * scale)
    return Rays(place[met], widths[met], unit[met], scale)


def _placed(grey: Grey, rays: Rays) -> Rays:
    """Both ends of each ray where, near them, the fine gradient into the fibre is largest."""
    if rays.scale <= FINE or rays.widths.size == 0:
        return rays
    down, across = (np.asarray(ndimage.gaussian_filter(grey, FINE, order)) for order in ((1, 0), (0, 1)))
    reach = np.arange(-1.5 * rays.scale, 1.5 * rays.scale + 0.01, 0.5)
    shifts = []
    for end, inwards in ((0.0, 1.0), (1.0, -1.0)):
        middle = rays.starts + end * rays.widths[:, None] * rays.units
        profile = np.stack(
            [
                inwards * (_at(down, spots) * rays.units[:, 0] + _at(across, spots) * rays.units[:, 1])
                for spots in (middle + shift * rays.units for shift in reach)
            ]
        )
        shifts.append(reach[profile.argmax(0)])
    starts = rays.starts + shifts[0][:, None] * rays.units
    widths = rays.widths - shifts[0] + shifts[1]
    kept = widths >= LEAST_WIDTH_PX / 2
    return Rays(starts[kept], widths[kept], rays.units[kept], rays.scale)


def _edges(strength: Grey, down: Grey, across: Grey) -> tuple[NDArray[np.intp], NDArray[np.intp], Values]:
    """Pixels at which the gradient is largest along itself, and where within them, by a parabola."""
    least = STRONG_EDGE * float(np.percentile(strength, 99))
    rows, columns = np.nonzero(strength > max(least, 1e-6))
    size = strength[rows, columns]
    step = np.stack([down[rows, columns], across[rows, columns]], 1) / size[:, None]
    here = np.stack([rows, columns], 1).astype(np.float64)
    before, after = (_at(strength, here + sign * step) for sign in (-1, 1))
    largest = (size >= before) & (size > after)
    bend = before - 2 * size + after
    shift = np.where(largest & (bend < 0), 0.5 * (before - after) / np.minimum(bend, -1e-12), 0)
    place = here + np.clip(shift, -0.5, 0.5)[:, None] * step
    return rows[largest], columns[largest], place[largest]


def _at(values: Grey, places: Values) -> Values:
    return np.asarray(ndimage.map_coordinates(values, places.T, order=1, mode="nearest"))


def _meet(
    place: Values,
    unit: Values,
    is_edge: NDArray[np.bool_],
    down: Grey,
    across: Grey,
    strength: Grey,
    longest: float,
) -> Values:
    """How far each ray goes until the first edge, where that one faces it; infinite for the others."""
    widths = np.full(len(place), np.inf)
    going = np.arange(len(place))
    rows, columns = is_edge.shape
    near = ndimage.binary_dilation(is_edge)
    for length in np.arange(2.0, longest, 0.5):
        spots = np.rint(place[going] + length * unit[going]).astype(np.intp)
        inside = (spots[:, 0] >= 0) & (spots[:, 0] < rows) & (spots[:, 1] >= 0) & (spots[:, 1] < columns)
        going, spots = going[inside], spots[inside]
        if not going.size:
            break
        r, c = spots.T
        opposite = -(down[r, c] * unit[going, 0] + across[r, c] * unit[going, 1]) / np.maximum(
            strength[r, c], 1e-9
        )
        hit = near[r, c] & (opposite > FACING)
        widths[going[hit]] = _width(place[going[hit]], unit[going[hit]], length, strength)
        going = going[~hit & ~(is_edge[r, c] & (opposite < -FACING))]
    return widths


def _width(place: Values, unit: Values, length: float, strength: Grey) -> Values:
    """Where, around ``length``, the gradient is largest: to a part of a pixel, by a parabola."""
    offsets = np.arange(-1.5, 2.01, 0.5)
    profile = np.stack([_at(strength, place + (length + offset) * unit) for offset in offsets])
    top = np.clip(profile.argmax(0), 1, len(offsets) - 2)
    each = np.arange(len(place))
    before, peak, after = (profile[top + step, each] for step in (-1, 0, 1))
    bend = before - 2 * peak + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.minimum(bend, -1e-12), 0)
    return np.asarray(length + offsets[top] + 0.5 * np.clip(shift, -1, 1))


def measure_fibres(grey: Grey, pixel_nm: float | None = None) -> tuple[Measurement, ...]:
    """Median width and its spread, direction and order of the fibres of ``grey`` (rows, columns)."""
    rays = rays_across(grey)
    methods = {
        "fibre diameter": f"median distance of facing edges, each length of fibre alike ({METHOD})",
        "fibre orientation": f"mean direction of fibres, weighted by length ({METHOD})",
        "fibre order": f"length of the mean of doubled directions: 0 none, 1 parallel ({METHOD})",
    }
    reason = _refusal(rays)
    if reason:
        return tuple(Measurement(name=n, quantity=None, method=m, refused=reason) for n, m in methods.items())
    factor, unit = (1.0, "px") if pixel_nm is None else (pixel_nm, "nm")
    low, high = median_interval(rays.widths)
    resultant = np.exp(2j * np.deg2rad(rays.directions)).mean()
    return (
        Measurement(
            name="fibre diameter",
            quantity=Quantity(
                value=factor * float(np.median(rays.widths)),
                unit=unit,
                low=None if low is None else factor * low,
                high=None if high is None else factor * high,
                n=rays.widths.size,
            ),
            method=methods["fibre diameter"],
        ),
        Measurement(
            name="fibre orientation",
            quantity=Quantity(value=float(np.rad2deg(np.angle(resultant)) / 2 % 180), unit="°"),
            method=methods["fibre orientation"],
        ),
        Measurement(
            name="fibre order",
            quantity=Quantity(value=float(abs(resultant)), n=rays.widths.size),
            method=methods["fibre order"],
        ),
    )


def _agreeing(rays: Rays, shape: tuple[int, ...]) -> Rays:
    """Rays whose neighbours along the edge are as long: at crossings and in texture they are not."""
    if rays.widths.size == 0:
        return rays
    sums = np.zeros((3, *shape))
    r, c = np.rint(rays.starts).astype(np.intp).T
    r, c = np.clip(r, 0, shape[0] - 1), np.clip(c, 0, shape[1] - 1)
    for moment, values in enumerate((np.ones_like(rays.widths), rays.widths, rays.widths**2)):
        np.add.at(sums[moment], (r, c), values)
    n, total, squares = (ndimage.uniform_filter(values, 7)[r, c] * 49 for values in sums)
    spread = np.sqrt(np.maximum(squares / np.maximum(n, 1) - (total / np.maximum(n, 1)) ** 2, 0))
    kept = (n >= 4) & (spread <= np.maximum(1.0, 0.1 * rays.widths))
    return Rays(rays.starts[kept], rays.widths[kept], rays.units[kept], rays.scale)


def _refusal(rays: Rays) -> str | None:
    if rays.widths.size < FEWEST_RAYS:
        return f"{rays.widths.size} places with two facing edges; at least {FEWEST_RAYS} are needed"
    median = float(np.median(rays.widths))
    if median < LEAST_WIDTH_PX:
        return f"the median width is {median:.1f} px; at least {LEAST_WIDTH_PX:g} px are needed"
    return None
