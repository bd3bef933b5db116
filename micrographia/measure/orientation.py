"""Preferred direction in the image plane, from the structure tensor of the working view."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from micrographia.measure.measurement import Inapplicable, measurement
from micrographia.measure.view import View

GRADIENT_SIGMA = 1.0
"""Sigma of the Gaussian derivative, in 1/128 of the shorter side."""

SMALLEST_COHERENCE = 0.15
"""Below it the image counts as isotropic and no direction is given."""


def structure_tensor(view: View) -> tuple[float, float, float]:
    """Mean of the products of the gradient, (xx, xy, yy), x to the right and y upwards.

    Bigün and Granlund (1987), "Optimal orientation detection of linear symmetry", ICCV, with the whole
    image as the window.
    """
    sigma = view.pixels(GRADIENT_SIGMA)
    x = ndimage.gaussian_filter(view.grey, sigma, order=(0, 1))
    y = -ndimage.gaussian_filter(view.grey, sigma, order=(1, 0))
    return float((x * x).mean()), float((x * y).mean()), float((y * y).mean())


def _coherence(xx: float, xy: float, yy: float) -> float:
    if xx + yy == 0:
        raise Inapplicable("the image has no gradient")
    return float(np.hypot(xx - yy, 2 * xy) / (xx + yy))


@measurement(
    "coherence",
    "",
    f"structure tensor of the working view (Gaussian derivative, sigma {GRADIENT_SIGMA:g}/128 of the shorter "
    "side): difference over sum of its eigenvalues",
)
def coherence(view: View) -> float:
    """0 where the image is isotropic, 1 where all gradients are parallel.

    sqrt((xx - yy)^2 + 4 xy^2) / (xx + yy) of the structure tensor.
    """
    return _coherence(*structure_tensor(view))


@measurement(
    "direction",
    "°",
    "structure tensor of the working view: the direction along which grey changes least, counter-clockwise "
    f"from horizontal, 0 to 180; none below coherence {SMALLEST_COHERENCE:g}",
)
def direction(view: View) -> float:
    """Direction in which features are drawn out, degrees counter-clockwise from horizontal, in [0, 180).

    The doubled angle of the gradient is averaged, as for any axial quantity: half of atan2(2 xy, xx - yy)
    is the direction of the gradient, and features lie across it.
    """
    xx, xy, yy = structure_tensor(view)
    strength = _coherence(xx, xy, yy)
    if strength < SMALLEST_COHERENCE:
        raise Inapplicable(f"no preferred direction: the coherence is {strength:.2f}")
    across = np.degrees(np.arctan2(2 * xy, xx - yy)) / 2
    return float((across + 90) % 180)
