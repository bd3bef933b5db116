"""From what the network sees to particles: each middle is a seed, and water rises from it to the outlines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

Labels = NDArray[np.int32]
Maps = NDArray[np.float32]
"""(3, rows, columns): foreground, contact, depth, each from 0 to 1."""

FOREGROUND = 0.5
SEED_RISE = 0.12
"""A middle is so much deeper than the saddle between it and the next."""
LEAST_DEPTH = 0.35
SMALLEST_PX = 20
"""Pixels at the network's zoom, below which a particle is noise."""


def particles_in(maps: Maps) -> Labels:
    """Particles, numbered from 1."""
    foreground, contact, depth = maps
    inside = foreground > FOREGROUND
    smooth = ndimage.gaussian_filter(depth * inside, 1.0)
    seeds = middles(smooth, np.full_like(smooth, SEED_RISE)) * (smooth > LEAST_DEPTH)
    return at_least(watershed(-(smooth - 0.3 * contact), seeds, mask=inside), SMALLEST_PX)


def middles(depth: NDArray[np.floating], rise: NDArray[np.floating]) -> Labels:
    """Maxima of ``depth`` that rise by ``rise`` there above the saddle to the next, numbered from 1.

    Reconstruction, then maxima: `h_maxima` keeps every one of several equally deep points of a ridge.
    """
    filled = reconstruction(depth - rise, depth)
    return np.asarray(ndimage.label(local_maxima(np.round(filled, 6)), np.ones((3, 3)))[0], np.int32)


def at_least(labels: NDArray[np.integer], pixels: int) -> Labels:
    """The objects of so many pixels or more, numbered anew from 1 without gaps."""
    kept = np.bincount(labels.ravel()) >= pixels
    kept[0] = False
    return np.asarray((np.cumsum(kept) * kept)[labels], np.int32)


def depth_of(labels: Labels) -> NDArray[np.float32]:
    """Distance to the outline of each particle as a part of its largest; the image's side is no outline.

    A particle without any outline, which fills the image, is equally deep everywhere: 1.
    """
    depth = np.zeros(labels.shape, np.float32)
    for number, window in enumerate(ndimage.find_objects(labels), start=1):
        if window is None:
            continue
        wide = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in window)
        inside = labels[wide] == number
        if inside.all():
            depth[wide] = 1
            continue
        distance = ndimage.distance_transform_edt(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1]
        depth[wide][inside] = distance[inside] / max(float(distance.max()), 1.0)
    return depth


def agreement(maps: Maps, labels: Labels) -> NDArray[np.float64]:
    """For each particle, 0 to 1: the foreground seen in it times the likeness of depth as seen and as made.

    A network that knows an object sees its depth as the object's outline gives it; one that guesses does not.
    """
    n = int(labels.max(initial=0))
    if n == 0:
        return np.zeros(0)
    numbers = np.arange(1, n + 1)
    seen, made = maps[2], depth_of(labels)
    error = ndimage.mean(np.abs(seen - made), labels, numbers)
    usual = ndimage.mean(made, labels, numbers)
    certain = ndimage.mean(np.abs(2 * maps[0] - 1), labels, numbers)
    return np.asarray(np.clip(certain, 0, 1) * np.clip(1 - error / np.maximum(usual, 1e-6), 0, 1))
