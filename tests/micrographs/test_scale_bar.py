"""Bars of every kind, drawn with a length that is known, measured back; and textures that hold none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from micrographia.micrographs.scale_bar import find_strokes, measured, parted, ticks


def ground(rows=80, columns=400, level=0):
    return np.full((rows, columns), level, np.uint8)


def stroke(image, left, length, top=40, thick=3, level=255):
    image[top : top + thick, left : left + length] = level
    return image


def only_bar(image):
    found = [measured(image, one) for one in find_strokes(image)]
    assert len(found) == 1, found
    return found[0]


@settings(deadline=None, max_examples=60)
@given(st.integers(20, 300), st.integers(1, 12), st.sampled_from([(0, 255), (255, 0), (120, 200), (200, 90)]))
def test_a_filled_bar_is_as_long_as_it_was_drawn(length, thick, levels):
    thick = min(thick, length // 3)
    bar = only_bar(stroke(ground(level=levels[0]), 40, length, thick=thick, level=levels[1]))
    assert (bar.length, bar.left) == (pytest.approx(length, abs=0.01), pytest.approx(40, abs=0.01))


@settings(deadline=None, max_examples=40)
@given(st.floats(40, 200), st.floats(30, 60))
def test_a_bar_that_was_resampled_is_measured_to_a_part_of_a_pixel(length, left):
    """Ends between pixels: each pixel has the share of the bar that lies on it."""
    covered = np.clip(np.minimum(np.arange(1, 401), left + length) - np.maximum(np.arange(400), left), 0, 1)
    image = ground()
    image[40:46] = np.rint(255 * covered)
    assert only_bar(image).length == pytest.approx(length, abs=0.02)


@pytest.mark.parametrize("wide", [1, 2, 3, 5])
def test_with_ticks_it_is_from_middle_to_middle(wide):
    image = stroke(ground(), 50, 200 + wide)
    for left in (50, 250):
        image[32:51, left : left + wide] = 255
    assert only_bar(image).length == pytest.approx(200, abs=0.01)


def test_a_bracket_is_a_bar_with_ticks():
    image = stroke(ground(), 50, 201, top=60, thick=2)
    for column in (50, 250):
        image[45:62, column] = 255
    assert only_bar(image).length == pytest.approx(200, abs=0.01)


def test_a_bar_that_its_label_parts_is_one():
    image = stroke(stroke(ground(), 50, 80), 171, 80)
    (bar,) = parted(image, find_strokes(image))
    assert (bar.kind, bar.length) == ("parted stroke", pytest.approx(201, abs=0.01))


def test_ticks_alone_are_measured_from_the_first_to_the_last():
    image = ground()
    for k in range(11):
        image[0:12, 30 + 20 * k : 33 + 20 * k] = 255
    (bar,) = ticks(image, 0.0)
    assert (bar.kind, bar.length) == ("ticks", pytest.approx(200, abs=0.01))


def test_letters_are_no_ticks():
    image = ground()
    for k in range(6):  # "| o | o |": something stands between
        image[20:40, 30 + 30 * k : 33 + 30 * k] = 255
        image[26:34, 42 + 30 * k : 50 + 30 * k] = 255
    assert ticks(image, 0.0) == []


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_blobs_hold_no_long_bar(seed):
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=(300, 400)), 6)
    image = np.clip(128 + 900 * blobs + rng.normal(0, 8, blobs.shape), 0, 255).astype(np.uint8)
    assert [one for one in find_strokes(image) if one.length > 40] == []


def test_lines_to_the_side_of_the_image_are_frames_not_bars():
    image = ground()
    image[20:22] = 255
    image[60:62, 200:] = 255
    assert find_strokes(image) == []
