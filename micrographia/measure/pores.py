"""Pores of a surface as it is seen: open area and how wide it is. It is no porosity of the volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from micrographia.measure.measurement import refused
from micrographia.records import Measurement, Quantity

Mask = NDArray[np.bool_]

LEAST_WIDTH_PX = 4.0
SIZES = 40
"""Steps of the disc's radius, evenly in its logarithm."""
METHOD = "version 1"


def local_thickness(mask: Mask) -> NDArray[np.float64]:
    """At each pixel of ``mask`` the diameter of the largest disc that holds it and lies in the mask, pixels.

    Hildebrand and Rueegsegger 1997 (doi:10.1046/j.1365-2818.1997.1340694.x), by discs of SIZES radii.
    """
    distance = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1]
    thickness = np.zeros(mask.shape)
    largest = float(distance.max(initial=0))
    if largest < 1:
        return np.where(mask, 1.0, 0.0)
    for radius in np.geomspace(largest, 1, SIZES):
        middles = distance >= radius
        near = ndimage.distance_transform_edt(~middles) < radius
        thickness[near & mask & (thickness == 0)] = 2 * radius
    thickness[mask & (thickness == 0)] = 1.0
    return thickness


def measure_pores(mask: Mask, pixel_nm: float | None = None) -> tuple[Measurement, ...]:
    """Open area fraction and median width of what ``mask`` (rows, columns) marks as open."""
    area = Measurement(
        name="open area fraction",
        quantity=Quantity(value=100 * float(mask.mean()), unit="%"),
        method=f"open pixels over all pixels of the field: of the surface seen, not of the volume ({METHOD})",
    )
    method = f"median, over the open area, of the largest disc that fits (local thickness, {METHOD})"
    thickness = local_thickness(mask)[mask]
    median = float(np.median(thickness)) if thickness.size else 0.0
    if median < LEAST_WIDTH_PX:
        reason = f"the open area is {median:.1f} px wide; at least {LEAST_WIDTH_PX:g} px are needed"
        return area, *refused({"pore width": method}, reason)
    width = Quantity(value=median, unit="px").scaled(pixel_nm)
    return area, Measurement(name="pore width", quantity=width, method=method)
