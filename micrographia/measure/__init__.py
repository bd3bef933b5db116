"""Numbers from pixels: grey values, texture, direction, spots and lines, each with its definition.

    measurements = measure_image(display_image)

Everything but the noise is measured on the working view (``view.py``), so that it is what a small student
can see, does not depend on the image's size in pixels, and is not ruled by pixel noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from micrographia.measure.features import bright_spots, dark_spots, line_area
from micrographia.measure.measurement import METHOD_VERSION
from micrographia.measure.orientation import coherence, direction
from micrographia.measure.texture import (
    brightness,
    contrast,
    dark_area,
    fine_share,
    noise,
    relief,
    sharpness,
    texture_length,
)
from micrographia.measure.uniformity import shading, unevenness
from micrographia.measure.view import LONGEST_STRIP, SMALLEST_SIDE, View, working_view
from micrographia.micrographs.display import luma
from micrographia.records import Measurement

__all__ = ["METHOD_VERSION", "measure_image"]

ON_THE_WORKING_VIEW = (
    brightness,
    contrast,
    dark_area,
    shading,
    unevenness,
    texture_length,
    relief,
    fine_share,
    sharpness,
    coherence,
    direction,
    dark_spots,
    bright_spots,
    line_area,
)
AT_FULL_RESOLUTION = (noise,)


def measure_image(image: NDArray[np.uint8]) -> tuple[Measurement, ...]:
    """Every measurement of one display image, (rows, columns) or (rows, columns, 3).

    A measurement that does not apply is there too, refused, with its reason. Raises ValueError for an array
    of any other shape.
    """
    grey = luma(image)
    if reason := _too_small_or_long(*sorted(grey.shape)):
        return tuple(measure.refused(reason) for measure in (*ON_THE_WORKING_VIEW, *AT_FULL_RESOLUTION))
    view = working_view(grey)
    return (
        *(measure(view) for measure in ON_THE_WORKING_VIEW),
        *(measure(View(grey)) for measure in AT_FULL_RESOLUTION),
    )


def _too_small_or_long(shorter: int, longer: int) -> str | None:
    if shorter < SMALLEST_SIDE:
        return f"the shorter side is {shorter} px; at least {SMALLEST_SIDE} px are needed"
    if longer > LONGEST_STRIP * shorter:
        return f"the sides are {shorter} and {longer} px; at most {LONGEST_STRIP} times as long is measured"
    return None
