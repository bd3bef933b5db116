"""Grains of films and alloys: mean lineal intercept and grain-size number after ASTM E112."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from micrographia.measure.measurement import refused
from micrographia.records import Measurement, Quantity

Labels = NDArray[np.int32]

INTERCEPT, NUMBER = "mean lineal intercept", "grain-size number"
LINES = 24
"""Test lines in each of four directions: E112 asks for several fields or lines in several directions."""
FEWEST_INTERCEPTS = 50
"""E112-13, 13.3: 50 intercepts or more for a field that is to be trusted."""
FEWEST_GRAINS = 20
INTERCEPT_SPREAD = 0.7
LEAST_INTERCEPT_PX = 10.0
METHOD = "ASTM E112-13, lines in four directions, version 1"


def intercepts(labels: Labels) -> tuple[float, int]:
    """Length of all test lines in pixels, and how many grain boundaries they cross.

    ``labels`` (rows, columns) are grains from 1; 0, a boundary drawn with a width, belongs to the next grain.
    """
    filled = _filled(labels)
    length, crossings = 0.0, 0
    for turned, step in ((filled, 1.0), (filled.T, 1.0)):
        for row in np.linspace(0, len(turned) - 1, LINES + 2)[1:-1].round().astype(int):
            line = turned[row]
            length += step * (line.size - 1)
            crossings += int(np.count_nonzero(np.diff(line)))
    for turned in (filled, filled[:, ::-1]):
        rows, columns = turned.shape
        for offset in np.linspace(-rows / 2, columns / 2, LINES + 2)[1:-1].round().astype(int):
            line = np.diagonal(turned, offset)
            length += np.sqrt(2) * (line.size - 1)
            crossings += int(np.count_nonzero(np.diff(line)))
    return length, crossings


def _filled(labels: Labels) -> Labels:
    if (labels > 0).all() or not (labels > 0).any():
        return labels
    nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    return np.asarray(labels[tuple(nearest)], np.int32)


def measure_grains(labels: Labels, pixel_nm: float | None = None) -> tuple[Measurement, ...]:
    """Mean lineal intercept, with its 95 % interval, and the grain-size number G where the scale is known."""
    length, crossings = intercepts(labels)
    methods = dict.fromkeys((INTERCEPT, NUMBER), METHOD)
    grains = int(np.unique(labels[labels > 0]).size)
    if grains < FEWEST_GRAINS:
        reason = f"{grains} grains; at least {FEWEST_GRAINS} are needed"
        return refused(methods, reason)
    if crossings < FEWEST_INTERCEPTS:
        reason = f"{crossings} intercepts; at least {FEWEST_INTERCEPTS} are needed"
        return refused(methods, reason)
    mean = length / crossings
    if mean < LEAST_INTERCEPT_PX:
        reason = f"the mean intercept is {mean:.1f} px; at least {LEAST_INTERCEPT_PX:g} px are needed"
        return refused(methods, reason)
    # Lines closer than a grain cross the same boundaries: what is independent is the grains. Intercepts of
    # space-filling grains spread by 0.6 to 0.7 of their mean.
    half = 1.96 * INTERCEPT_SPREAD / np.sqrt(grains)
    low, high = mean * (1 - half), mean * (1 + half)
    quantity = Quantity(value=mean, unit="px", low=low, high=high, n=grains).scaled(pixel_nm)
    intercept = Measurement(name=INTERCEPT, quantity=quantity, method=METHOD)
    if pixel_nm is None:
        return intercept, *refused({NUMBER: METHOD}, "the scale is not known")
    ends = [grain_size_number(quantity.value * side * 1e-6) for side in (1 + half, 1, 1 - half)]
    number = Quantity(value=ends[1], low=ends[0], high=ends[2], n=grains)
    return intercept, Measurement(name=NUMBER, quantity=number, method=METHOD)


def grain_size_number(intercept_mm: float) -> float:
    """G = -6.643856 log10(mean lineal intercept in mm at 1x) - 3.288 (ASTM E112-13, table 6)."""
    return float(-6.643856 * np.log10(intercept_mm) - 3.288)
