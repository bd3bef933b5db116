"""Particles by threshold: found in any light, parted where they touch, and none where there are none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micrographia.measure.segment.classical import SMALLEST_PX, by_threshold, dark_side
from tests.measure.drawn import discs
from tests.measure.segment.rods import rod


def two_discs(apart, radii=(14, 11)):
    """Bright discs whose middles are ``apart`` pixels from each other, on a dark ground."""
    row, column = np.mgrid[: 3 * radii[0], : 6 * radii[0]] - np.reshape(
        (1.5 * radii[0], 3.0 * radii[0]), (2, 1, 1)
    )
    left, right = (np.hypot(row, column - half) for half in (-apart / 2, apart / 2))
    return np.where((left <= radii[0]) | (right <= radii[1]), 200, 40).astype(np.uint8)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.integers(5, 8), st.booleans(), st.integers(0, 10**6))
def test_every_disc_is_found_bright_or_dark(n, radius, bright, seed):
    levels = {"ground": 60, "grey": 180} if bright else {"ground": 180, "grey": 60}
    labels = by_threshold(discs(n, radius=radius, seed=seed, **levels))
    areas = np.bincount(labels.ravel())[1:]
    assert areas.size == n
    assert areas == pytest.approx(np.full(n, np.pi * radius**2), rel=0.15)


@settings(deadline=None, max_examples=15)
@given(st.floats(0.4, 1.2), st.integers(0, 40))
def test_contrast_and_brightness_change_nothing(contrast, brightness):
    grey = discs(8, noise=0).astype(np.float64)
    assert np.array_equal(by_threshold(contrast * grey + brightness), by_threshold(grey))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_image_has_the_same_particles_turned(turns):
    grey = discs(8)
    turned = by_threshold(np.rot90(grey, turns))
    assert np.array_equal(turned > 0, np.rot90(by_threshold(grey) > 0, turns))
    assert turned.max() == 8


@pytest.mark.parametrize(("apart", "number"), [(80, 2), (70, 2), (54, 2), (40, 1), (20, 1), (0, 1)])
def test_discs_are_parted_where_the_waist_between_them_is_narrow(apart, number):
    labels = by_threshold(two_discs(apart, (40, 36)))
    assert labels.max() == number
    if apart == 80:
        areas = sorted(np.bincount(labels.ravel())[1:])
        assert areas == pytest.approx(np.pi * np.square([36, 40]), rel=0.02)


@pytest.mark.parametrize("angle", [0, 10, 20, 30, 60, 90])
def test_a_rod_is_one_particle_whichever_way_it_lies(angle):
    assert by_threshold(np.where(rod(angle), 200, 40)).max() == 1


def test_small_particles_are_found_beside_a_large_one():
    row, column = np.mgrid[:200, :260]
    large, small = np.hypot(row - 100, column - 100) <= 90, np.hypot(row - 100, column - 230) <= 8
    assert by_threshold(np.where(small, 200, 40)).max() == 1
    assert by_threshold(np.where(large | small, 200, 40)).max() == 2


def test_a_hole_belongs_to_its_particle():
    grey = two_discs(0)
    middle = np.s_[18:24, 39:45]
    grey[middle] = 40
    assert (by_threshold(grey)[middle] == 1).all()


def test_specks_are_left_out_and_numbers_have_no_gaps():
    grey = two_discs(30)
    grey[2:7, 2:7] = 200  # 25 pixels: before the discs in the order of rows
    assert SMALLEST_PX > 25
    assert np.unique(by_threshold(grey)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (64, 64)])
def test_an_even_image_has_none_and_no_dark_side(level, shape):
    even = np.full(shape, level, np.uint8)
    assert by_threshold(even).shape == shape
    assert not by_threshold(even).any()
    assert not dark_side(even).any()


def test_the_dark_side_is_what_is_dark_whichever_way_round():
    grey = two_discs(30)
    discs_bright, discs_dark = dark_side(grey), dark_side(255 - grey)
    assert discs_bright.mean() == pytest.approx((grey == 40).mean(), abs=0.02)
    assert (discs_dark != discs_bright).mean() > 0.98
