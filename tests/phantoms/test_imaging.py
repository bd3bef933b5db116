"""The microscope: steep and sharp is bright, deep is dark, and the settings do what they are called."""

from dataclasses import replace

import numpy as np
import pytest

from micrographia.phantoms.imaging import Optics, emission, expose
from micrographia.phantoms.scene import Scene
from micrographia.phantoms.solids import ball

QUIET = Optics(dose=1e6, readout=0.0, blur=0.4, black=0.0, white=1.0)


def sphere(side=128):
    scene = Scene.flat((side, side), 0.3)
    scene.put(ball(40), (64, 64), 40, 0.0, 0.6, 1)
    return scene


def photograph(optics, scene=None, seed=0):
    return expose(scene or sphere(), optics, np.random.default_rng(seed)).astype(float)


def test_yield_rises_with_tilt():
    signal = emission(sphere(), Optics(side=0, rim=0, shadow=0))
    assert signal[64, 64] < signal[64, 90] < signal[64, 101]


def test_a_detector_at_the_side_brightens_the_slopes_that_face_it():
    signal = emission(sphere(), Optics(side=0.5, azimuth_deg=0, rim=0, shadow=0))
    assert signal[64, 92] > signal[64, 36]
    turned = emission(sphere(), Optics(side=0.5, azimuth_deg=90, rim=0, shadow=0))
    assert turned[36, 64] > turned[92, 64]


def test_the_upper_side_of_a_cliff_glows_and_the_foot_is_dark():
    scene = Scene.flat((64, 64), 0.5)
    scene.height[:, 32:] = 30
    signal = emission(scene, Optics(side=0))
    assert signal[32, 32] > 1.15 * signal[32, 60]
    assert signal[32, 31] < 0.8 * signal[32, 4]


def test_blur_softens_edges():
    sharp, soft = (np.abs(np.diff(photograph(replace(QUIET, blur=b)))).max() for b in (0.5, 3.0))
    assert soft < 0.6 * sharp


def test_astigmatism_blurs_along_its_axis():
    image = photograph(replace(QUIET, blur=2.0, astigmatism=6.0, astigmatism_deg=0.0))
    assert np.abs(np.diff(image, axis=0)).max() > 1.5 * np.abs(np.diff(image, axis=1)).max()


def test_fewer_electrons_more_noise():
    flat = Scene.flat((96, 96), 0.5)
    flat.tone[:4] = 1.0
    noise = [photograph(replace(QUIET, dose=d, black=0.4), flat)[20:].std() for d in (400, 100, 25)]
    assert noise[0] < noise[1] < noise[2]
    # Poisson: four times the electrons, half the noise.
    assert noise[1] / noise[0] == pytest.approx(2, rel=0.1)


def test_charge_darkens_behind_bright_things_along_the_line_only():
    scene = Scene.flat((128, 128), 0.3)
    scene.put(ball(14), (64, 64), 14, 0.0, 1.0, 1)
    image = photograph(replace(QUIET, trail=0.2, black=0.1, shadow=0), scene)
    before, behind, elsewhere = image[64, 34:44], image[64, 84:94], image[4, 84:94]
    assert behind.mean() < before.mean() - 10
    assert behind.mean() < elsewhere.mean() - 10
    uncharged = photograph(replace(QUIET, black=0.1, shadow=0), scene)
    assert uncharged[64, 84:94].mean() == pytest.approx(uncharged[64, 34:44].mean(), abs=2)


def test_line_noise_is_the_same_along_each_line():
    flat = Scene.flat((96, 96), 0.5)
    flat.tone[:, :4] = 1.0
    image = photograph(replace(QUIET, lines=0.02, black=0.4), flat)[:, 10:]
    assert image.mean(axis=1).std() > 5 * image.mean(axis=0).std()


def test_vignetting_takes_from_the_corners():
    flat = Scene.flat((96, 96), 0.5)
    flat.tone[40:44] = 1.0
    image = photograph(replace(QUIET, vignette=0.3, black=0.5), flat)
    assert image[:8, :8].mean() < 0.9 * image[30:38, 40:56].mean()


def test_black_and_white_levels_are_kept():
    image = photograph(replace(QUIET, black=0.2, white=0.7))
    assert np.percentile(image, 1) == pytest.approx(51, abs=4)
    assert np.percentile(image, 99) == pytest.approx(178, abs=8)
