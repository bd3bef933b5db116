"""Image quality: blur, clipping and charging. Noise, sharpness and contrast are in texture.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from micrographia.measure.measurement import refused
from micrographia.records import Measurement, Quantity

Grey = NDArray[np.float64]

REBLUR = 1.5
"""Gaussian sigma, pixels, of the second blur that the first is told by."""
STRONGEST = 99.0
"""Percentile of gradients from which an edge is one that blur is measured on."""
FEWEST_EDGES = 100
STREAK = 5.0
"""A row whose mean jumps by so many typical jumps is a streak."""
METHOD = "version 1"


def measure_quality(grey: Grey) -> tuple[Measurement, ...]:
    """Blur, clipped shares and charging streaks of ``grey`` (rows, columns), 0 to 255."""
    return (_blur(grey), *_clipped(grey), _streaks(grey))


def _blur(grey: Grey) -> Measurement:
    """At an edge of blur s, blurring by r divides the gradient by sqrt(1 + r^2 / s^2).

    Zhuo and Sim 2011 (doi:10.1016/j.patcog.2011.03.009). A first light blur keeps pixel noise out, and its
    part is taken off again.
    """
    method = f"median Gaussian sigma of the strongest 1 % of edges, from the ratio of gradients ({METHOD})"
    once, twice = (
        ndimage.gaussian_gradient_magnitude(grey, sigma) for sigma in (1.0, float(np.hypot(1.0, REBLUR)))
    )
    edges = (once >= np.percentile(once, STRONGEST)) & (once > 2) & (once == ndimage.maximum_filter(once, 3))
    if edges.sum() < FEWEST_EDGES:
        reason = f"{int(edges.sum())} clear edges; at least {FEWEST_EDGES} are needed"
        return refused({"blur": method}, reason)[0]
    ratio = np.maximum(once[edges] / np.maximum(twice[edges], 1e-9), 1 + 1e-6)
    sigma = np.sqrt(np.maximum(REBLUR**2 / (ratio**2 - 1) - 1.0, 0))
    quantity = Quantity(value=float(np.median(sigma)), unit="px", n=int(edges.sum()))
    return Measurement(name="blur", quantity=quantity, method=method)


def _clipped(grey: Grey) -> tuple[Measurement, ...]:
    """What is wholly black or white holds no signal any more."""
    return tuple(
        Measurement(
            name=f"clipped {name}",
            quantity=Quantity(value=100 * float(share.mean()), unit="%"),
            method=f"pixels at the {end} of the range ({METHOD})",
        )
        for name, end, share in (("dark", "lower end", grey <= 0), ("bright", "upper end", grey >= 255))
    )


def _streaks(grey: Grey) -> Measurement:
    """Charge trails along the scan line: a row then differs as a whole from the rows around it."""
    means = np.median(grey, axis=1)
    jumps = np.abs(means - ndimage.median_filter(means, 9, mode="nearest"))
    usual = max(float(np.median(jumps)) / 0.6745, 0.5)
    share = float((jumps > STREAK * usual).mean())
    return Measurement(
        name="charging streaks",
        quantity=Quantity(value=100 * share, unit="%"),
        method=f"rows whose median differs from that of 9 rows by {STREAK:g} typical differences ({METHOD})",
    )
