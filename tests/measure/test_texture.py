"""Grey values and texture against drawn truth."""

import numpy as np
import pytest
from scipy import ndimage

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
from micrographia.measure.view import View, working_view
from tests.measure.drawn import discs


def smooth_noise(sigma, shape=(256, 256), seed=0):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma, mode="wrap")
    return 128 + 30 * field / field.std()


def value(definition, grey):
    return definition(working_view(grey)).quantity.value


def test_halves_of_black_and_white():
    grey = np.repeat([[0.0], [255.0]], 64, axis=0) * np.ones((1, 128))
    assert value(brightness, grey) == pytest.approx(50)
    assert value(contrast, grey) == pytest.approx(100)
    assert value(dark_area, grey) == pytest.approx(50)


def test_dark_area_of_drawn_discs():
    area = 100 * 6 * np.pi * 6**2 / 160**2
    assert value(dark_area, discs(6).astype(float)) == pytest.approx(area, rel=0.1)


def test_texture_length_is_the_correlation_length():
    # The autocorrelation of Gaussian-smoothed white noise is a Gaussian of sqrt(2) sigma: 1/e at 2 sigma.
    for sigma in (4.0, 8.0):
        expected = 100 * 2 * sigma / 256
        lengths = [value(texture_length, smooth_noise(sigma, seed=seed)) for seed in range(4)]
        assert np.mean(lengths) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("s", [2.0, 3.0, 6.0])
def test_fine_share_of_smoothed_white_noise(s):
    # Noise smoothed by sigma s has the spectrum exp(-s^2 k^2); what a Gaussian of sigma t takes away leaves
    # (1 - exp(-t^2 k^2 / 2))^2 of it. Here t is 3/128 of 256 px.
    t = 6.0
    expected = 100 * (1 - 2 * s**2 / (s**2 + t**2 / 2) + s**2 / (s**2 + t**2))
    shares = [value(fine_share, smooth_noise(s, seed=seed)) for seed in range(8)]
    assert np.mean(shares) == pytest.approx(expected, rel=0.12)


def test_relief_falls_with_smoothing_and_sharpness_with_blur():
    fine = smooth_noise(2.0)
    coarse = np.asarray(ndimage.gaussian_filter(fine, 6))
    assert value(relief, fine) > 2 * value(relief, coarse)
    assert value(sharpness, fine) > value(sharpness, coarse) + 0.1


@pytest.mark.parametrize("deviation", [2.0, 8.0])
def test_noise_of_an_even_ground_is_that_which_was_added(deviation):
    grey = 128 + np.random.default_rng(0).normal(0, deviation, (300, 300))
    assert noise(View(grey)).quantity.value == pytest.approx(deviation / 2.55, rel=0.03)


def test_shading_is_the_slow_change_and_survives_texture():
    ramp = np.linspace(-50, 50, 256)[:, None] * np.ones((1, 256))
    expected = 0.9 * 100 / 2.55
    assert value(shading, 128 + ramp) == pytest.approx(expected, rel=0.02)
    assert value(shading, smooth_noise(2.0) + ramp) == pytest.approx(expected, rel=0.1)


def test_unevenness_grows_when_structure_gathers():
    even = smooth_noise(2.0)
    row, column = np.mgrid[:256, :256]
    window = np.exp(-((row - 128) ** 2 + (column - 128) ** 2) / (2 * 50**2))
    assert value(unevenness, even) < 0.15
    assert value(unevenness, 128 + (even - 128) * window) > 0.5
