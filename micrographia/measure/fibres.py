"""Fibres and wires: width across, direction along, from the axis of each to its two outlines.

In a mat the upper fibres hide the lower, and no threshold parts them. A small network, trained on drawings,
sees axes and outlines; the widths are then geometry: from each point of an axis to the outline on its left
and on its right, which lie equally far where a whole width is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from micrographia.measure.measurement import refused
from micrographia.measure.segment.choose import zoomed
from micrographia.measure.segment.instances import Maps
from micrographia.records import Measurement, Quantity

Grey = NDArray[np.float64]
Values = NDArray[np.float64]

ZOOMED_SIDES = (160, 224, 320, 448, 640, 900)
"""Shorter sides, in pixels, at which the network looks; it learned from images of 192."""
LARGEST_ZOOM = 2.5
SEEN_WIDTHS, SEEN_BEST = (14.0, 40.0), 20.0
"""Median width in pixels of the zoomed image between which outlines are seen well, and at which best."""
NEARLY = 0.9
"""Of looks with so much of the highest confidence, that which is nearest to SEEN_BEST is taken."""
AXIS = 0.6
"""Depth from which a ridge is an axis."""
OUTLINE = 0.35
"""Probability from which a ridge of the outline's map is one."""
STEP, RIDGE = 0.5, 2.0
"""Pixels between the places looked at, and on either side of a ridge over which its middle is taken."""
EVEN = 0.2
"""Difference of the two sides, as a part of the width, up to which a whole width is seen; and one pixel."""
LEAST_WIDTH_PX = 8.0
"""Each outline is placed to half a pixel at best: of narrower fibres that is too large a part."""
LEAST_PLACES, FEWEST = 20, 30
"""Places, and points of axes, below which there are too few to tell."""
TRUSTED = 0.5
PLACE = 4
"""Side, in median widths, of the squares that count as one place each: within one, widths go together."""
LEAST_ORDER = 0.2
"""Below it fibres run every way, and their mean direction means nothing."""
REDRAWN = 200
METHOD = "version 2"


@dataclass(frozen=True)
class Widths:
    """Widths across fibres, one at each point of their axes, in pixels of the field."""

    points: Values
    """(n, 2) row and column on the axis."""
    widths: Values
    """(n,) from outline to outline."""
    directions: Values
    """(n,) along the fibre: degrees from growing columns, anticlockwise, 0 to 180."""
    lengths: Values
    """(n,) of axis that each stands for."""
    confidence: float
    """0 to 1: how sure the network is, times the share of what it sees that the widths account for."""
    zoom: float = 1.0
    """At which the network saw them."""
    rival: str | None = None
    """What is seen here with more certainty than fibres; None where nothing is."""

    @property
    def median(self) -> float:
        """The width that half of the length is narrower than."""
        return weighted_quantile(self.widths, self.lengths, 0.5)

    @property
    def seen(self) -> float:
        """The median in pixels of the image as the network saw it."""
        return self.zoom * self.median

    @cached_property
    def places(self) -> NDArray[np.intp]:
        """(n,) the number of the place of each width: squares of PLACE median widths, from 0."""
        side = PLACE * self.median
        return np.unique(np.floor(self.points / side).astype(np.int64), axis=0, return_inverse=True)[1]

    @property
    def n_places(self) -> int:
        """Squares in which a whole width was seen."""
        return int(self.places.max(initial=-1)) + 1

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the median: whole places are drawn again and again (Efron 1979).

        Within a place widths go together, so that they are drawn together (doi:10.1214/aos/1176344552).
        """
        draw = np.random.default_rng(0)
        of_place = [np.flatnonzero(self.places == k) for k in range(self.n_places)]
        medians = []
        for _ in range(REDRAWN):
            rows = np.concatenate([of_place[k] for k in draw.integers(0, len(of_place), len(of_place))])
            medians.append(weighted_quantile(self.widths[rows], self.lengths[rows], 0.5))
        low, high = np.percentile(medians, [2.5, 97.5])
        return float(low), float(high)

    @property
    def across(self) -> Values:
        """(n, 2) unit vectors (row, column) from one outline to the other."""
        turn = np.deg2rad(self.directions)
        return np.stack([np.cos(turn), np.sin(turn)], 1)

    @property
    def refusal(self) -> str | None:
        """Why they tell no diameter; None where they do."""
        if self.widths.size == 0:
            return "no fibre with two outlines was found"
        if self.rival or self.confidence < TRUSTED:
            sure = f"{self.confidence:.2f} where {TRUSTED:g} is needed"
            return f"fibres are not certain: {self.rival or sure}"
        if self.median < LEAST_WIDTH_PX:
            return f"the median width is {self.median:.1f} px; at least {LEAST_WIDTH_PX:g} px are needed"
        if not SEEN_WIDTHS[0] <= self.seen <= SEEN_WIDTHS[1]:
            rather = "narrow" if self.seen < SEEN_WIDTHS[0] else "wide"
            return f"the median width is about {self.median:.2g} px: too {rather} in an image of this size"
        if self.n_places < LEAST_PLACES:
            return f"{self.n_places} places with a whole width; at least {LEAST_PLACES} are needed"
        return None


NOTHING = Widths(np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0), 0.0)


def weighted_quantile(values: Values, weights: Values, share: float) -> float:
    """The smallest value with at least ``share`` of the weight at or below it."""
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, share * below[-1])])


def find_widths(grey: NDArray[np.uint8]) -> Widths:
    """Widths of the fibres of ``grey`` (rows, columns) at the zoom at which they are seen best.

    An image is looked at several times, reduced and enlarged, since nothing tells how wide its fibres are.
    """
    looks = list(_looks(grey))
    inside = [one for one in looks if SEEN_WIDTHS[0] <= one.seen <= SEEN_WIDTHS[1]]
    sure = NEARLY * max((one.confidence for one in inside), default=0.0)
    nearest = min(
        (one for one in inside if one.confidence >= max(sure, TRUSTED)),
        key=lambda one: abs(np.log(one.seen / SEEN_BEST)),
        default=None,
    )
    return nearest or max(looks, key=lambda one: one.confidence, default=NOTHING)


def _looks(grey: NDArray[np.uint8]) -> Iterator[Widths]:
    from micrographia.measure.segment.network import look_for_strands  # torch takes seconds to load

    for side in ZOOMED_SIDES:
        zoom = side / min(grey.shape)
        if zoom <= LARGEST_ZOOM:
            found = widths_in(look_for_strands(zoomed(grey, zoom)))
            if found.widths.size >= FEWEST:
                yield Widths(
                    points=(found.points + 0.5) / zoom - 0.5,
                    widths=found.widths / zoom,
                    directions=found.directions,
                    lengths=found.lengths / zoom,
                    confidence=found.confidence,
                    zoom=zoom,
                )


def widths_in(maps: Maps) -> Widths:
    """Widths in the network's maps: strand, outline and depth (3, rows, columns)."""
    strand, outline, depth = maps.astype(np.float64)
    points, across = _axes(strand, depth)
    left, right = (_to_outline(outline, points, sign * across) for sign in (-1, 1))
    found = np.isfinite(left + right)
    points, across, left, right = points[found], across[found], left[found], right[found]
    whole = np.abs(left - right) <= EVEN * (left + right) + 1
    points, across, widths = points[whole], across[whole], (left + right)[whole]
    lengths = 1 / np.maximum(np.abs(across[:, 0]), np.abs(across[:, 1]))
    seen = float((strand > 0.5).sum())
    share = min(1.0, float((widths * lengths).sum()) / seen) if seen else 0.0
    return Widths(
        points=points,
        widths=widths,
        directions=np.asarray(np.rad2deg(np.arctan2(across[:, 1], across[:, 0])) % 180),
        lengths=lengths,
        confidence=share * float(np.abs(2 * strand - 1).mean()),
    )


def _axes(strand: Grey, depth: Grey) -> tuple[Values, Values]:
    """Points (n, 2) where depth is largest across a strand, and the unit vectors (n, 2) across it."""
    smooth = ndimage.gaussian_filter(depth, 1.0)
    rr, rc, cc = (
        np.asarray(ndimage.gaussian_filter(depth, 1.5, order)) for order in ((2, 0), (1, 1), (0, 2))
    )
    angle = 0.5 * np.arctan2(2 * rc, rr - cc) + np.pi / 2  # of the most negative curvature
    rows, columns = np.nonzero((strand > 0.5) & (smooth > AXIS))
    points = np.stack([rows, columns], 1).astype(np.float64)
    across = np.stack([np.cos(angle[rows, columns]), np.sin(angle[rows, columns])], 1)
    here = smooth[rows, columns]
    before, after = (_at(smooth, points + sign * across) for sign in (-1, 1))
    top = (here >= before) & (here > after)
    return points[top], across[top]


def _to_outline(outline: Grey, points: Values, direction: Values) -> Values:
    """How far it is from each point to the middle of the first ridge of the outline; infinite without."""
    reach = np.arange(0, SEEN_WIDTHS[1] + RIDGE, STEP)
    profile = np.stack([_at(outline, points + length * direction) for length in reach])
    before, peak, after = profile[:-2], profile[1:-1], profile[2:]
    ridge = (peak >= before) & (peak > after) & (peak > OUTLINE)
    first = ridge.argmax(0) + 1
    around = np.arange(-round(RIDGE / STEP), round(RIDGE / STEP) + 1)
    near = np.clip(first + around[:, None], 0, len(reach) - 1)
    weights = profile[near, np.arange(len(points))]
    lengths = (weights * reach[near]).sum(0) / np.maximum(weights.sum(0), 1e-12)
    ends = points + lengths[:, None] * direction
    inside = np.all((ends >= 0) & (ends <= np.array(outline.shape) - 1), axis=1)
    return np.where(ridge.any(0) & inside, lengths, np.inf)


def _at(values: Grey, places: Values) -> Values:
    return np.asarray(ndimage.map_coordinates(values, places.T, order=1, mode="nearest"))


METHODS = {
    "fibre diameter": f"median distance of the two outlines, each length of fibre alike ({METHOD})",
    "fibre diameter d10": f"width that 10 % of the length is narrower than ({METHOD})",
    "fibre diameter d90": f"width that 90 % of the length is narrower than ({METHOD})",
    "fibre orientation": f"mean direction of fibres, weighted by length ({METHOD})",
    "fibre order": f"length of the mean of doubled directions: 0 none, 1 parallel ({METHOD})",
}


def measure_fibres(found: Widths, pixel_nm: float | None = None) -> tuple[Measurement, ...]:
    """Width across, its spread, direction and order of the fibres in which ``found`` was found.

    n counts places, squares of four widths, within which widths depend on each other.
    """
    if reason := found.refusal:
        return refused(METHODS, reason)
    n = found.n_places
    low, high = found.interval
    resultant = np.average(np.exp(2j * np.deg2rad(found.directions)), weights=found.lengths)
    quantities = {
        "fibre diameter": Quantity(value=found.median, unit="px", low=low, high=high, n=n),
        "fibre orientation": Quantity(value=float(np.rad2deg(np.angle(resultant)) / 2 % 180), unit="°"),
        "fibre order": Quantity(value=float(abs(resultant)), n=n),
    }
    for share in (10, 90):
        width = weighted_quantile(found.widths, found.lengths, share / 100)
        quantities[f"fibre diameter d{share}"] = Quantity(value=width, unit="px", n=n)
    reasons: dict[str, str] = {}
    if abs(resultant) < LEAST_ORDER:
        reasons["fibre orientation"] = f"no direction is preferred: the order is {abs(resultant):.2f}"
    return tuple(
        Measurement(
            name=name,
            quantity=None if name in reasons else quantities[name].scaled(pixel_nm),
            method=method,
            refused=reasons.get(name),
        )
        for name, method in METHODS.items()
    )
