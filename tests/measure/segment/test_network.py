"""The network looks at any size and any light, and its weights are a small plain file."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from micrographia.measure.segment.network import (
    OUTPUTS,
    PARTICLES,
    SegmenterNetwork,
    look,
    standardised,
)
from tests.measure.drawn import discs


def grey(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.float32)


def test_the_weights_are_a_small_file_that_holds_nothing_but_numbers():
    assert PARTICLES.stat().st_size < 8e6
    shapes = {name: value.shape for name, value in SegmenterNetwork().state_dict().items()}
    with safe_open(PARTICLES, "np") as file:
        values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    assert {name: value.shape for name, value in values.items()} == shapes
    assert all(np.isfinite(value).all() for value in values.values())


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 90), st.integers(1, 90))
def test_every_pixel_of_every_size_is_seen(rows, columns):
    seen = look(grey((rows, columns)))
    assert seen.shape == (OUTPUTS, rows, columns)
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert seen[:2].min() > 0  # a probability is never quite nothing


@pytest.mark.parametrize("level", [0, 77, 255])
def test_an_even_image_is_looked_at_as_any_other(level):
    seen = look(np.full((50, 70), level, np.float32))
    assert np.isfinite(seen).all()
    assert np.array_equal(seen, look(np.full((50, 70), 128, np.float32)))


@settings(deadline=None, max_examples=5)
@given(st.floats(0.2, 5), st.floats(-100, 300))
def test_contrast_and_brightness_change_nothing(contrast, brightness):
    image = discs(6, radius=6, shape=(128, 128)).astype(np.float32)
    assert look(contrast * image + brightness) == pytest.approx(look(image), abs=2e-3)


def test_standardised_is_0_with_spread_1_and_an_even_image_is_0():
    values = standardised(grey((40, 30)))
    assert values.dtype == np.float32
    assert values.mean() == pytest.approx(0, abs=1e-5)
    assert values.std() == pytest.approx(1, abs=1e-5)
    assert not standardised(np.full((40, 30), 9.0)).any()


def test_looking_leaves_the_image_as_it_was_and_sees_the_same_again():
    image = grey((45, 61))
    before = image.copy()
    assert np.array_equal(look(image), look(image))
    assert np.array_equal(image, before)


@pytest.mark.parametrize("shape", [(160, 160), (131, 190)])
def test_discs_are_foreground_deep_in_their_middles_and_do_not_touch(shape):
    """Where they lie, whether or not the sides had to be padded."""
    image = discs(5, radius=8, shape=shape)
    inside = image < 120
    foreground, contact, depth = look(image.astype(np.float32))
    assert foreground[inside].mean() > 0.8
    assert foreground[~inside].mean() < 0.1
    assert depth[inside].mean() > 3 * depth[~inside].mean()
    assert contact.mean() < 0.05


def test_the_network_gives_logits_of_the_size_of_its_input():
    with torch.inference_mode():
        seen = SegmenterNetwork((8, 16, 24))(torch.zeros(2, 1, 32, 64))
    assert seen.shape == (2, OUTPUTS, 32, 64)
