"""At which zoom the network looks, how far it is to be trusted; and threshold, where it is asked for.

On real images the network's outlines are nearer to those drawn by hand than threshold's wherever it is sure
(``benchmarks/emps.py``). Where it is not, neither is to be measured by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.segmentation import watershed

from micrographia.measure.segment.classical import by_threshold
from micrographia.measure.segment.instances import FOREGROUND, Labels, Maps, agreement, at_least, particles_in

Method = Literal["auto", "network", "threshold"]
METHODS: tuple[Method, ...] = get_args(Method)

ZOOMED_SIDES = (112, 160, 224, 320, 448, 640)
"""Shorter sides, in pixels, at which the network looks; it learned from images of 192."""
LARGEST_ZOOM = 2.0
TRUSTED = 0.55
"""Least confidence from which particles are measured; chosen on real images that no figure is of."""
SURE, ENOUGH_PX = 0.8, 16.0
"""Confidence and median diameter at the network's zoom from which no larger zoom is tried."""
FEWEST_PX = 6.0
"""Median diameter at the network's zoom, below which a larger zoom is asked."""


@dataclass(frozen=True)
class Segmentation:
    """The particles of one field, how they were found, and how far that is to be trusted."""

    labels: Labels
    """(rows, columns) of the field; 0 is ground, particles are numbered from 1."""
    confidence: float
    """0 to 1; of threshold, which nobody gets who did not ask for it, 1."""
    method: str
    """"network at zoom 0.44" or "threshold"."""
    reason: str
    """Why this method, in words."""
    rival: str | None = None
    """What is seen here with more certainty than particles; None where nothing is."""

    @property
    def trusted(self) -> bool:
        """Whether it is good enough to be measured."""
        return self.confidence >= TRUSTED and self.rival is None


def segment(grey: NDArray[np.uint8], method: Method = "auto") -> Segmentation:
    """The particles of ``grey``, (rows, columns) without databar.

    "auto" takes the network, at the zoom at which it is surest of what it sees.
    """
    if method == "threshold":
        return Segmentation(by_threshold(grey), 1.0, "threshold", "asked for")
    best = max(_looks(grey), key=lambda one: one.confidence)
    sure = f"the network is surest at this zoom: {best.confidence:.2f}"
    return Segmentation(
        labels=_at_full_size(best.maps, best.labels, grey.shape),
        confidence=best.confidence,
        method=f"network at zoom {best.zoom:.2g}",
        reason="asked for" if method == "network" else sure,
    )


@dataclass(frozen=True)
class _Look:
    """What the network sees at one zoom."""

    zoom: float
    maps: Maps
    labels: Labels
    confidence: float


def _looks(grey: NDArray[np.uint8]) -> Iterator[_Look]:
    from micrographia.measure.segment.network import look  # torch takes seconds to load

    zooms = [side / min(grey.shape) for side in ZOOMED_SIDES]
    for zoom in [zoom for zoom in zooms if zoom <= LARGEST_ZOOM] or [LARGEST_ZOOM]:
        maps = look(zoomed(grey, zoom))
        seen = _Look(zoom, maps, labels := particles_in(maps), _confidence(maps, labels))
        yield seen
        if seen.confidence >= SURE and _median_diameter(labels) >= ENOUGH_PX:
            return


def _confidence(maps: NDArray[np.float32], labels: Labels) -> float:
    """The mean agreement, weighted by diameter, times the share of what was seen that became particles."""
    each = agreement(maps, labels)
    if not each.size:
        return 0.0
    if _median_diameter(labels) < FEWEST_PX:
        return 0.0
    areas = _areas(labels)
    taken = float(areas.sum() / max(areas.sum(), (maps[0] > 0.5).sum()))
    return float(np.average(each, weights=np.sqrt(areas))) * taken


def _areas(labels: Labels) -> NDArray[np.int64]:
    return np.bincount(labels.ravel())[1:]


def _median_diameter(labels: Labels) -> float:
    return float(np.median(2 * np.sqrt(_areas(labels) / np.pi))) if labels.any() else 0.0


def zoomed(grey: NDArray[np.uint8], zoom: float) -> NDArray[np.float32]:
    """``grey`` reduced by area averages or enlarged, as the networks look at it."""
    rows, columns = (max(16, round(n * zoom)) for n in grey.shape)
    how = Image.Resampling.BOX if zoom < 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(grey).resize((columns, rows), how), np.float32)


def _at_full_size(maps: Maps, labels: Labels, shape: tuple[int, ...]) -> Labels:
    """The same particles on the pixels of the field; their outlines are where the enlarged maps say."""
    foreground, contact, depth = (_sized(one, shape) for one in maps)
    middles = np.where(maps[2] > 0.5 * _deepest(maps[2], labels), labels, 0)
    seeds = _sized(middles.astype(np.int32), shape, Image.Resampling.NEAREST)
    return at_least(watershed(-(depth - 0.3 * contact), seeds, mask=foreground > FOREGROUND), 1)


def _deepest(depth: NDArray[np.float32], labels: Labels) -> NDArray[np.float64]:
    """For each pixel the greatest depth seen in its particle."""
    numbers = np.arange(int(labels.max(initial=0)) + 1)
    return np.asarray(ndimage.maximum(depth, labels, numbers))[labels]


def _sized(
    values: NDArray[Any], shape: tuple[int, ...], how: Image.Resampling = Image.Resampling.BILINEAR
) -> NDArray[Any]:
    return np.asarray(Image.fromarray(values).resize((shape[1], shape[0]), how))
