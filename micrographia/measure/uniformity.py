"""Whether the image is the same all over: shading of the brightness, unevenness of the fine structure."""

from __future__ import annotations

import numpy as np

from micrographia.measure.measurement import Inapplicable, measurement
from micrographia.measure.view import PER_CENT_OF_RANGE, View, area_means

TILES = 4
"""Tiles along each side for the unevenness."""


@measurement(
    "shading",
    "%",
    "5th to 95th percentile of a quadratic surface fitted to the working view, % of the display range",
)
def shading(view: View) -> float:
    """Slow change of brightness across the image, % of the display range.

    Uneven illumination, charging and tilt give it, but so does a large bright or dark object.
    """
    low, high = np.percentile(view.shading, [5, 95])
    return float(high - low) * PER_CENT_OF_RANGE


@measurement(
    "unevenness",
    "",
    f"coefficient of variation, over {TILES} x {TILES} tiles of the working view, of the standard deviation "
    "of the fine structure",
)
def unevenness(view: View) -> float:
    """How unequally the fine structure is spread over the image: 0 where every tile has the same.

    A quadrat count (variance over mean in equal quadrats, Greig-Smith 1952) with the strength of the
    structure in place of the number of points, so that it needs no segmentation.
    """
    strength = np.sqrt(area_means(view.fine**2, TILES, TILES))
    if strength.mean() == 0:
        raise Inapplicable("the image has no fine structure")
    return float(strength.std() / strength.mean())
