"""Particles: count, size, shape and cover of the objects of a label image, each defined by a standard.

Lengths are in pixels, times the pixel size where there is one. An object that touches the image's side is
counted and covers area, but has no size: what is cut off cannot be measured (ISO 13322-1:2014, 7.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special, stats
from scipy.spatial import ConvexHull, QhullError
from skimage.measure import perimeter_crofton

from micrographia.measure.measurement import refused
from micrographia.records import Box, Measurement, Quantity

Labels = NDArray[np.int32]
Values = NDArray[np.float64]

LEAST_DIAMETER_PX = 10.0
"""Below this median diameter an outline is too few pixels for a size: 1 px of blur is 10 % of it."""
LEAST_FOR_DECILES = 10
CONFIDENCE = 0.95
METHOD = "version 1"


@dataclass(frozen=True)
class Particles:
    """Every object of a label image, one row an object."""

    labels: Labels
    """(rows, columns); 0 is ground, objects are numbered from 1."""
    pixel_nm: float | None = None
    """Nanometres per pixel; None where the scale is not known, and lengths are in pixels."""
    print: Sequence[Box] = ()
    """Where print was painted over: what lies under it cannot be measured either."""

    @property
    def count(self) -> int:
        """Number of objects, those at the image's side included."""
        return int(self.labels.max(initial=0))

    @cached_property
    def cut(self) -> NDArray[np.bool_]:
        """(count,) whether an object touches the image's side, or print that lies on it."""
        sides = [self.labels[0], self.labels[-1], self.labels[:, 0], self.labels[:, -1]]
        for box in self.print:
            around = np.s_[max(0, box.top - 2) : box.bottom + 2, max(0, box.left - 2) : box.right + 2]
            sides.append(self.labels[around].ravel())
        touched = np.zeros(self.count + 1, bool)
        touched[np.unique(np.concatenate(sides))] = True
        return touched[1:]

    @cached_property
    def areas(self) -> Values:
        """(count,) pixels of each object."""
        return np.bincount(self.labels.ravel(), minlength=self.count + 1)[1:].astype(np.float64)

    @cached_property
    def centroids(self) -> Values:
        """(count, 2) column and row of each object's centre of area, pixels from the upper left corner."""
        if not self.count:
            return np.zeros((0, 2))
        middles = np.array(ndimage.center_of_mass(self.labels > 0, self.labels, range(1, self.count + 1)))
        return np.asarray(middles[:, ::-1] + 0.5)

    @property
    def diameters(self) -> Values:
        """(count,) equivalent circular diameter, pixels: 2 sqrt(area / pi) (ISO 9276-6:2008, 8.1)."""
        return np.asarray(2 * np.sqrt(self.areas / np.pi))

    @cached_property
    def ferets(self) -> tuple[Values, Values]:
        """(count,) each: largest and smallest Feret diameter, pixels (ISO 9276-6:2008, 8.1.2).

        The distance between parallel tangents, over all directions; pixels are squares, not points.
        """
        found = [_ferets(self.labels[window] == k) for k, window in self._windows]
        largest, smallest = zip(*found, strict=True) if found else ((), ())
        return np.array(largest), np.array(smallest)

    @property
    def aspects(self) -> Values:
        """(count,) smallest over largest Feret diameter, 1 for a disc (ISO 9276-6:2008, 8.1.3)."""
        largest, smallest = self.ferets
        return np.asarray(smallest / largest)

    @cached_property
    def circularities(self) -> Values:
        """(count,) 4 pi area / perimeter squared, 1 for a disc, as ImageJ has it (ISO 9276-6: form factor).

        Perimeter by Crofton's formula in four directions (Lehmann and Legland 2012, Insight Journal 852).
        """
        perimeters = [
            perimeter_crofton(np.pad(self.labels[w] == k, 1), directions=4) for k, w in self._windows
        ]
        return np.asarray(
            np.minimum(4 * np.pi * self.areas / np.maximum(np.array(perimeters), 1e-9) ** 2, 1.0)
        )

    @property
    def _windows(self) -> list[tuple[int, tuple[slice, slice]]]:
        found = ndimage.find_objects(self.labels)
        return [(k, window) for k, window in enumerate(found, start=1) if window is not None]

    @property
    def unit(self) -> str:
        """Of lengths."""
        return "px" if self.pixel_nm is None else "nm"

    def length(self, pixels: float) -> float:
        """``pixels`` in that unit."""
        return pixels * (self.pixel_nm or 1.0)


def _ferets(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Largest and smallest distance of parallel tangents: a smallest one lies along a side of the hull."""
    rows, columns = np.nonzero(mask)
    corners = np.stack([rows, columns], 1)[:, None] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    points = corners.reshape(-1, 2).astype(np.float64)
    try:
        hull = points[ConvexHull(points).vertices]
    except QhullError:
        return 0.0, 0.0
    sides = np.roll(hull, -1, 0) - hull
    normals = np.stack([-sides[:, 1], sides[:, 0]], 1) / np.linalg.norm(sides, axis=1)[:, None]
    widths = np.ptp(hull @ normals.T, axis=0)
    apart = np.linalg.norm(hull[:, None] - hull[None], axis=2)
    return float(apart.max()), float(widths.min())


def measure_particles(particles: Particles) -> tuple[Measurement, ...]:
    """Every measurement of them; a size is refused where objects are too few pixels, or all are cut."""
    whole = ~particles.cut
    n = int(whole.sum())
    total = particles.labels.size
    cover = Quantity(value=100 * float(particles.areas.sum()) / total, unit="%", n=particles.count)
    found = [
        Measurement(
            name="particle count",
            quantity=Quantity(
                value=particles.count, low=_fewest(particles.count), high=_most(particles.count)
            ),
            method=f"objects in the field, those at its side too; interval of a Poisson count ({METHOD})",
        ),
        Measurement(
            name="particle area fraction",
            quantity=cover,
            method=f"pixels of objects over all pixels of the field ({METHOD})",
        ),
    ]
    if refusal := _refusal(particles, n):
        return (*found, *refused(SIZES, refusal))
    largest, smallest = particles.ferets
    values = {
        "particle diameter": particles.diameters[whole],
        "particle largest Feret diameter": largest[whole],
        "particle smallest Feret diameter": smallest[whole],
    }
    for name, pixels in values.items():
        found.append(_median(name, pixels, particles, SIZES[name]))
    for share in (10, 90):
        found.append(_decile(share, particles.diameters[whole], particles))
    for name, ratios in (("aspect ratio", particles.aspects), ("circularity", particles.circularities)):
        low, high = median_interval(ratios[whole])
        quantity = Quantity(value=float(np.median(ratios[whole])), low=low, high=high, n=n)
        found.append(
            Measurement(name=f"particle {name}", quantity=quantity, method=SIZES[f"particle {name}"])
        )
    return tuple(found)


_OF_WHOLE = f"of the objects that no side of the field cuts ({METHOD})"
SIZES = {
    "particle diameter": f"median equivalent circular diameter, 2 sqrt(area / pi), {_OF_WHOLE}",
    "particle largest Feret diameter": f"median largest Feret diameter {_OF_WHOLE}",
    "particle smallest Feret diameter": f"median smallest Feret diameter {_OF_WHOLE}",
    "particle diameter d10": f"diameter that 10 % by number are below, {_OF_WHOLE}",
    "particle diameter d90": f"diameter that 90 % by number are below, {_OF_WHOLE}",
    "particle aspect ratio": f"median of smallest over largest Feret diameter {_OF_WHOLE}",
    "particle circularity": f"median of 4 pi area / perimeter squared {_OF_WHOLE}",
}


def _refusal(particles: Particles, n: int) -> str | None:
    if particles.count == 0:
        return "no particle was found"
    if n == 0:
        return f"all {particles.count} particles are cut by a side of the field"
    median = float(np.median(particles.diameters[~particles.cut]))
    if median < LEAST_DIAMETER_PX:
        return f"the median diameter is {median:.1f} px; at least {LEAST_DIAMETER_PX:g} px are needed"
    return None


def _median(name: str, pixels: Values, particles: Particles, method: str) -> Measurement:
    low, high = (None if end is None else particles.length(end) for end in median_interval(pixels))
    value = particles.length(float(np.median(pixels)))
    quantity = Quantity(value=value, unit=particles.unit, low=low, high=high, n=pixels.size)
    return Measurement(name=name, quantity=quantity, method=method)


def _decile(share: int, pixels: Values, particles: Particles) -> Measurement:
    name = f"particle diameter d{share}"
    if pixels.size < LEAST_FOR_DECILES:
        reason = f"{pixels.size} whole particles; at least {LEAST_FOR_DECILES} are needed"
        return refused({name: SIZES[name]}, reason)[0]
    low, high = quantile_interval(pixels, share / 100)
    quantity = Quantity(
        value=particles.length(float(np.percentile(pixels, share))),
        unit=particles.unit,
        low=None if low is None else particles.length(low),
        high=None if high is None else particles.length(high),
        n=pixels.size,
    )
    return Measurement(name=name, quantity=quantity, method=SIZES[name])


def median_interval(values: Values) -> tuple[float | None, float | None]:
    """The 95 % interval of the median: two of the values, whatever their distribution."""
    return quantile_interval(values, 0.5)


def quantile_interval(values: Values, share: float) -> tuple[float | None, float | None]:
    """Order statistics between which the quantile lies with 95 % (Hahn and Meeker 1991, section 5.2).

    An end for which there are too few values is None.
    """
    ordered = np.sort(values)
    tail = (1 - CONFIDENCE) / 2
    below = int(stats.binom.ppf(tail, ordered.size, share))
    if stats.binom.cdf(below, ordered.size, share) > tail:
        below -= 1
    above = int(stats.binom.isf(tail, ordered.size, share)) + 1
    low = float(ordered[below]) if 0 <= below < ordered.size else None
    high = float(ordered[above - 1]) if 0 < above <= ordered.size else None
    return low, high


def _fewest(count: int) -> float:
    """Lower end of the 95 % interval of a Poisson mean (Garwood 1936, doi:10.1093/biomet/28.3-4.437)."""
    return 0.0 if count == 0 else float(special.gammaincinv(count, (1 - CONFIDENCE) / 2))


def _most(count: int) -> float:
    """Its upper end."""
    return float(special.gammaincinv(count + 1, 1 - (1 - CONFIDENCE) / 2))
