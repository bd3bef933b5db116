"""Laws that every measurement keeps, whatever the image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from micrographia.measure import measure_image
from tests.measure.drawn import discs, stripes

SCALARS = (
    "brightness", "contrast", "dark area", "shading", "unevenness", "texture length",
    "relief", "fine share", "sharpness", "coherence", "dark spots", "bright spots", "line area", "noise",
)  # fmt: skip


def values(image):
    return {m.name: m.quantity.value for m in measure_image(image) if m.quantity is not None}


@st.composite
def textures(draw):
    """Smoothed noise of any shape and direction, some of it with spots: an image like most micrographs."""
    rows, columns = draw(st.integers(64, 220)), draw(st.integers(64, 220))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sigmas = draw(st.tuples(st.floats(0.5, 6), st.floats(0.5, 6)))
    field = ndimage.gaussian_filter(rng.normal(size=(rows, columns)), sigmas)
    field = 128 + draw(st.floats(10, 60)) * field / field.std()
    return np.clip(np.rint(field), 0, 255).astype(np.uint8)


@settings(max_examples=15, deadline=None)
@given(textures(), st.sampled_from(["turn", "left-right", "upside down"]))
def test_turning_or_mirroring_changes_the_direction_alone(image, change):
    changed, angle = {
        "turn": (np.rot90(image), lambda a: a + 90),
        "left-right": (image[:, ::-1], lambda a: -a),
        "upside down": (image[::-1], lambda a: -a),
    }[change]
    before, after = values(image), values(np.ascontiguousarray(changed))
    assert before.keys() == after.keys()
    for name in SCALARS:
        assert after[name] == pytest.approx(before[name], rel=1e-6, abs=1e-9), name
    if "direction" in before:
        difference = (after["direction"] - angle(before["direction"]) + 90) % 180 - 90
        assert abs(difference) < 1e-6


@settings(max_examples=10, deadline=None)
@given(textures(), st.integers(2, 4))
def test_enlarging_changes_nothing_that_is_measured_on_the_working_view(image, times):
    at_once = np.resize(image, (128, 150))
    before, after = values(at_once), values(np.kron(at_once, np.ones((times, times), np.uint8)))
    for name in set(SCALARS) - {"noise"}:
        assert after[name] == pytest.approx(before[name], rel=1e-6, abs=1e-9), name


@settings(max_examples=10, deadline=None)
@given(textures(), st.integers(-10, 10))
def test_a_shift_of_brightness_moves_the_brightness_alone(image, shift):
    middle = np.clip(image, 20, 230)
    before, after = values(middle), values((middle.astype(int) + shift).astype(np.uint8))
    assert after.pop("brightness") - before.pop("brightness") == pytest.approx(shift / 2.55)
    # A spot or a line on its threshold may pass it on either side of a rounding, so counts stand apart.
    for name in after.keys() - {"dark spots", "bright spots", "line area", "sharpness"}:
        assert after[name] == pytest.approx(before[name], rel=1e-6), name


def test_stretching_grey_orders_contrast_and_relief():
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=(200, 200)), 2)
    images = [np.uint8(np.clip(128 + s * field / field.std(), 0, 255)) for s in (5, 15, 40)]
    for name in ("contrast", "relief"):
        low, middle, high = (values(image)[name] for image in images)
        assert low < middle < high


@pytest.mark.parametrize("grey", [0, 100, 255])
def test_a_constant_image_has_a_brightness_and_no_texture(grey):
    taken = {m.name: m for m in measure_image(np.full((100, 150), grey, np.uint8))}
    assert taken["brightness"].quantity.value == pytest.approx(grey / 2.55)
    assert taken["noise"].quantity.value == 0
    for name in taken.keys() - {"brightness", "noise"}:
        assert taken[name].refused == "all pixels have the same grey value", name


def test_a_small_image_is_refused_with_its_size():
    for measured in measure_image(np.zeros((63, 500), np.uint8)):
        assert measured.quantity is None
        assert "63 px" in measured.refused


def test_a_strip_is_refused_with_its_sides():
    grey = np.random.default_rng(0).integers(0, 256, (70, 70 * 32 + 1)).astype(np.uint8)
    assert {m.refused for m in measure_image(grey)} == {
        "the sides are 70 and 2241 px; at most 32 times as long is measured"
    }
    assert any(m.quantity for m in measure_image(grey[:, :-1]))


def test_colour_is_measured_as_its_luma():
    grey = stripes(30)
    colour = np.zeros((*grey.shape, 3), np.uint8)
    colour[..., 1] = grey
    assert values(colour)["brightness"] == pytest.approx(0.587 * values(grey)["brightness"])
    assert values(colour)["direction"] == pytest.approx(values(grey)["direction"])


def test_an_array_that_is_no_image_is_refused():
    with pytest.raises(ValueError, match="3, 4, 5"):
        measure_image(np.zeros((3, 4, 5), np.uint8))


def test_every_number_carries_its_definition():
    methods = [m.method for m in measure_image(discs(5))]
    assert len(set(methods)) == len(methods)
    assert all("version" in method for method in methods)
