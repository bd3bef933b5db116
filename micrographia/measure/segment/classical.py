"""Particles by threshold and distance: what needs no training and can be followed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from micrographia.measure.segment.instances import Labels, at_least, middles

BLUR = 1.0
RISE = 0.1
"""A middle is deeper than the saddle to the next by this part of its own depth, and one pixel at least."""
SMALLEST_PX = 30


def by_threshold(grey: NDArray[np.number[Any]]) -> Labels:
    """Otsu's threshold (1979, doi:10.1109/TSMC.1979.4310076), parted by the watershed of the distance within.

    ``grey`` is (rows, columns). What touches the sides less is taken for the particles, bright or dark.
    """
    smooth = ndimage.gaussian_filter(np.asarray(grey, np.float64), BLUR)
    if smooth.max() - smooth.min() < 1:
        return np.zeros(smooth.shape, np.int32)
    bright = smooth > threshold_otsu(smooth)
    inside = ~bright if _along_sides(bright) > _along_sides(~bright) else bright
    inside = ndimage.binary_fill_holes(ndimage.binary_opening(inside))
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(inside), BLUR)
    seeds = middles(distance, np.maximum(1.0, RISE * distance)) * inside
    return at_least(watershed(-distance, seeds, mask=inside), SMALLEST_PX)


def dark_side(grey: NDArray[np.number[Any]]) -> NDArray[np.bool_]:
    """What is darker than Otsu's threshold of the lightly smoothed image: pores in the light of electrons."""
    smooth = ndimage.gaussian_filter(np.asarray(grey, np.float64), BLUR)
    if smooth.max() - smooth.min() < 1:
        return np.zeros(smooth.shape, bool)
    return np.asarray(smooth < threshold_otsu(smooth))


def _along_sides(mask: NDArray[np.bool_]) -> float:
    """The share of the image's outermost pixels that are in ``mask``."""
    return float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean())
