"""Dispersions for the segmenter: the same again from the same numbers, and labels that are what is seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from micrographia.phantoms.dispersions import draw_dispersion, draw_strands

DRAWERS = pytest.mark.parametrize("draw", [draw_dispersion, draw_strands])
SIDE = 80
seeds = st.integers(0, 2**32)


def drawn(draw, seed, side=SIDE):
    return draw(np.random.default_rng(seed), side)


def outlines(labels):
    return ndimage.maximum_filter(labels, 3) != ndimage.minimum_filter(labels, 3)


@DRAWERS
def test_the_same_state_gives_the_same_and_the_next_another(draw):
    rng, again = np.random.default_rng(5), np.random.default_rng(5)
    first, second = draw(rng, SIDE), draw(rng, SIDE)
    for one in (first, second):
        other = draw(again, SIDE)
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.labels, other.labels)
        assert (one.depth is None) == (other.depth is None)
        assert one.depth is None or np.array_equal(one.depth, other.depth)
    assert not np.array_equal(first.image, second.image)


@DRAWERS
@settings(deadline=None, max_examples=25)
@given(seed=seeds, side=st.integers(40, 100))
def test_labels_are_numbered_without_gaps_and_each_is_visible(draw, seed, side):
    one = drawn(draw, seed, side)
    assert (one.image.shape, one.image.dtype) == ((side, side), np.uint8)
    assert (one.labels.shape, one.labels.dtype) == ((side, side), np.int32)
    pixels = np.bincount(one.labels.ravel())
    assert one.labels.min() >= 0
    assert (pixels[1:] >= 12).all()


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_strands_are_deep_on_their_axis_and_ground_and_particles_have_no_depth(seed):
    strands = drawn(draw_strands, seed)
    assert strands.depth.shape == strands.labels.shape
    assert strands.depth.min() >= 0
    assert strands.depth.max() <= 1
    assert not strands.depth[strands.labels == 0].any()
    assert drawn(draw_dispersion, seed).depth is None


def test_depth_is_the_distance_to_the_nearest_side_of_a_strand():
    """On the slopes of the topmost of each image, the steps of depth are all of one size."""
    spreads = []
    for seed in range(40):
        one = drawn(draw_strands, seed)
        top = ndimage.binary_erosion(one.labels == one.labels.max(), iterations=2)
        on_a_slope = top & (one.depth < 0.85)
        if on_a_slope.sum() < 60:
            continue
        steps = np.hypot(*np.gradient(one.depth))[on_a_slope]
        spreads.append(np.percentile(steps, 75) / np.percentile(steps, 25))
    assert len(spreads) > 20
    assert np.median(spreads) < 1.05


@DRAWERS
def test_labels_lie_where_the_image_shows_something(draw):
    """Grey changes along outlines more than elsewhere; on a copy that is turned over it does not."""
    upright, turned = [], []
    for seed in range(24):
        one = drawn(draw, seed, 96)
        change = ndimage.gaussian_gradient_magnitude(one.image.astype(float), 1)
        for ratios, edge in ((upright, outlines(one.labels)), (turned, outlines(one.labels[::-1, ::-1]))):
            if edge.any() and not edge.all():
                ratios.append(change[edge].mean() / change[~edge].mean())
    assert len(upright) > 18
    assert np.median(upright) > 1.8
    assert np.median(turned) < 0.7 * np.median(upright)


@DRAWERS
def test_what_a_side_cuts_does_not_go_on_at_the_other(draw):
    """The topmost of each image, which nothing hides, is in one piece."""
    for seed in range(30):
        labels = drawn(draw, seed).labels
        if labels.any():
            pieces = ndimage.label(labels == labels.max(), np.ones((3, 3)))[0]
            sizes = np.bincount(pieces.ravel())[1:]
            assert sizes.max() > 0.97 * sizes.sum(), seed


def test_a_handful_and_a_hundred_are_drawn_small_and_large():
    """What the segmenter learns from spans what it may meet."""
    numbers, diameters = [], []
    for seed in range(40):
        labels = drawn(draw_dispersion, seed).labels
        areas = np.bincount(labels.ravel())[1:]
        numbers.append(areas.size)
        diameters += [float(np.median(2 * np.sqrt(areas / np.pi)))] if areas.size else []
    assert min(numbers) <= 3
    assert max(numbers) >= 50
    assert min(diameters) < 10
    assert max(diameters) > SIDE / 3
