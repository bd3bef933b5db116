"""Grey values and their variation: brightness, contrast, dark area, texture length, relief, sharpness, noise.

"%" of grey means per cent of the display range, 0 to 255.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import fft, ndimage

from micrographia.measure.measurement import SMALLEST_DEVIATION, Inapplicable, measurement
from micrographia.measure.view import FINE_SIGMA, PER_CENT_OF_RANGE, Grey, View

BLUR_WIDTH = 11
"""Pixels of the mean that blurs again for the sharpness; Crete et al. use 9, scikit-image 11."""


@measurement("brightness", "%", "mean grey of the working view, % of the display range", of_constant=True)
def brightness(view: View) -> float:
    """Mean grey, % of the display range."""
    return float(view.grey.mean()) * PER_CENT_OF_RANGE


@measurement("contrast", "%", "95th minus 5th percentile of grey of the working view, % of the display range")
def contrast(view: View) -> float:
    """Spread of grey that outliers do not move: p95 - p5, % of the display range."""
    _, p5, p95, _ = view.percentiles
    return (p95 - p5) * PER_CENT_OF_RANGE


@measurement("dark area", "%", "area of the working view darker than the middle of its p1-p99 grey range")
def dark_area(view: View) -> float:
    """Share of pixels below (p1 + p99) / 2: small where dark features lie on a bright ground."""
    p1, _, _, p99 = view.percentiles
    return 100 * float(np.mean(view.grey < (p1 + p99) / 2))


@measurement(
    "texture length",
    "%",
    "distance at which the radially averaged autocorrelation of the working view, shading removed, "
    "falls to 1/e, % of the shorter side",
)
def texture_length(view: View) -> float:
    """Correlation length of the grey values, % of the shorter side.

    The autocorrelation is taken by FFT with zero padding (Wiener-Khinchin), divided by the number of pixel
    pairs at each lag, and averaged over directions. ISO 25178-2 defines the autocorrelation length of a
    surface in the same way but along its fastest decay and to 0.2.
    """
    side = int(min(view.grey.shape))
    profile = _radial_autocorrelation(view.grey - view.shading, side // 2)
    below = np.flatnonzero(profile < profile[0] / np.e)
    if below.size == 0:
        raise Inapplicable("the texture is larger than half of the image")
    after = int(below[0])
    part = (profile[after - 1] - profile[0] / np.e) / (profile[after - 1] - profile[after])
    return 100 * (after - 1 + float(part)) / side


def _radial_autocorrelation(values: Grey, largest: int) -> Grey:
    """Mean product of pixel pairs 0, 1 ... ``largest`` - 1 pixels apart, averaged over directions."""
    shape = tuple(fft.next_fast_len(n + largest, real=True) for n in values.shape)
    products = fft.irfft2(np.abs(fft.rfft2(values, s=shape)) ** 2, s=shape)
    rows, columns = (np.rint(np.abs(fft.fftfreq(n, 1 / n))) for n in shape)
    distance = np.rint(np.hypot(rows[:, None], columns)).astype(np.intp)
    near = distance < largest
    pairs = np.outer(values.shape[0] - rows, values.shape[1] - columns)[near]
    return np.bincount(distance[near], products[near] / pairs) / np.bincount(distance[near])


@measurement(
    "relief",
    "%",
    f"standard deviation of grey after subtracting a Gaussian of sigma {FINE_SIGMA:g}/128 of the shorter "
    "side, % of the display range",
)
def relief(view: View) -> float:
    """Strength of the fine structure, % of the display range: near zero for a smooth surface.

    It is a variation of grey, not of height.
    """
    return float(view.fine.std()) * PER_CENT_OF_RANGE


@measurement(
    "fine share",
    "%",
    "variance of the fine structure over the variance of grey less shading, of the working view",
)
def fine_share(view: View) -> float:
    """How much of the texture is fine, %: near 100 for a fine texture, near 0 for a coarse one.

    Where texture length needs one scale to stand out, this only parts the variance at FINE_SIGMA, so it
    changes steadily with the image and stays defined for textures of several scales.
    """
    variance = float(np.var(view.grey - view.shading))
    if variance < SMALLEST_DEVIATION**2:
        raise Inapplicable("nothing is left of the image when its shading is removed")
    return 100 * float(view.fine.var()) / variance


@measurement("sharpness", "", "1 - blur metric of Crete et al. 2007 of the working view")
def sharpness(view: View) -> float:
    """1 for crisp edges, 0 for none: the part of the grey steps that is lost when the image is blurred again.

    Crete, Dolmiere, Ladret, Nicolas (2007), "The blur effect", SPIE 6492, doi:10.1117/12.702790: the lesser
    of both axes. Judged on the working view, so it says nothing of blur finer than 1/128 of the shorter side.
    """
    return min(_lost_by_blurring(view.grey, axis) for axis in (0, 1))


def _lost_by_blurring(grey: Grey, axis: int) -> float:
    steps = np.abs(np.diff(grey, axis=axis))
    if steps.sum() == 0:
        raise Inapplicable("the image does not vary along one of its axes")
    blurred = ndimage.uniform_filter1d(grey, BLUR_WIDTH, axis=axis)
    lost = np.maximum(0, steps - np.abs(np.diff(blurred, axis=axis)))
    return float(lost.sum() / steps.sum())


@measurement("noise", "%", "Immerkaer 1996 at full resolution, % of the display range", of_constant=True)
def noise(view: View) -> float:
    """Standard deviation of white noise, % of the display range; fine texture counts as noise.

    Immerkaer (1996), "Fast noise variance estimation", CVIU 64(2), doi:10.1006/cviu.1996.0060: the mean
    magnitude of the difference of two Laplacians, [1 -2 1] along both axes, times sqrt(pi / 2) / 6.
    Takes the image at full resolution, because averaging removes noise.
    """
    second = np.diff(np.diff(view.grey, 2, axis=0), 2, axis=1)
    return float(np.abs(second).mean()) * math.sqrt(math.pi / 2) / 6 * PER_CENT_OF_RANGE
