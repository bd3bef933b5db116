"""What is measured on a field is what was asked for, in its unit, or refused with its reason."""

import numpy as np
import pytest

from micrographia import phantoms
from micrographia.measure.field import BY_ITSELF, KINDS, OF_SIZE, measure_field
from micrographia.records import Box
from tests.measure.drawn import bars, discs

NAMES = {
    "particles": "particle diameter",
    "pattern": "pitch",
    "pores": "open area fraction",
    "grains": "mean lineal intercept",
    "cracks": "crack length",
    "quality": "blur",
}
"""A measurement of each kind; fibres have a network of their own."""


@pytest.fixture(scope="module")
def field():
    """Twelve discs that touch nothing."""
    return discs(12, radius=8)


def named(measured):
    return {m.name: m for m in measured.measurements}


def by_threshold(field, pixel_nm=None, kinds=("particles",), **more):
    return measure_field(field, pixel_nm, kinds, "threshold", **more)


def test_every_kind_is_one_of_all_and_has_a_name_here():
    assert set(NAMES) | {"fibres"} == set(KINDS)
    assert set(BY_ITSELF) <= set(KINDS)
    assert set(OF_SIZE) <= set(BY_ITSELF)


@pytest.mark.parametrize("kind", NAMES)
def test_one_kind_gives_its_own_measurements_only(field, kind):
    found = named(by_threshold(field, kinds=(kind,)))
    assert [other for other in NAMES if NAMES[other] in found] == [kind]
    assert all((m.quantity is None) != (m.refused is None) for m in found.values())


def test_kinds_come_in_the_order_in_which_they_were_asked(field):
    measured = by_threshold(field, kinds=("quality", "particles", "pattern"))
    places = {m.name: k for k, m in enumerate(measured.measurements)}
    assert places["blur"] < places["particle diameter"] < places["pitch"]
    assert len(places) == len(measured.measurements)


@pytest.mark.parametrize("kinds", [("pattern", "quality"), ("pores", "cracks"), ()])
def test_nothing_is_outlined_where_no_kind_needs_it(field, kinds):
    measured = measure_field(field, None, kinds)
    assert (measured.segmentation, measured.particles, measured.outlined) == (None, None, None)


@pytest.mark.parametrize("kinds", [("particles",), ("grains",), ("grains", "particles")])
def test_particles_and_grains_are_of_one_and_the_same_outlines(field, kinds):
    measured = by_threshold(field, 3.0, kinds)
    assert measured.segmentation.method == "threshold"
    assert measured.particles.labels is measured.segmentation.labels
    assert measured.particles.pixel_nm == 3.0
    assert measured.outlined is measured.particles


def test_a_size_says_how_the_outlines_were_found(field):
    found = named(by_threshold(field))
    assert found["particle count"].quantity.value == 12
    assert all(m.method.endswith("; outlines by threshold") for m in found.values())


@pytest.mark.parametrize("name", ["particle diameter", "particle smallest Feret diameter"])
def test_the_pixel_size_makes_nanometres_of_pixels(field, name):
    pixels, nanometres = named(by_threshold(field))[name], named(by_threshold(field, 0.5))[name]
    assert (pixels.quantity.unit, nanometres.quantity.unit) == ("px", "nm")
    assert nanometres.quantity.value == pytest.approx(0.5 * pixels.quantity.value)


@pytest.mark.parametrize(("pixel_nm", "unit", "value"), [(None, "px", 20), (4.0, "nm", 80)])
def test_other_kinds_get_the_scale_too(pixel_nm, unit, value):
    pitch = named(measure_field(bars(8), pixel_nm, ("pattern",)))["pitch"].quantity
    assert (pitch.unit, pitch.value) == (unit, pytest.approx(value, rel=1e-3))


def test_sizes_are_refused_one_and_all_where_outlines_are_not_trusted():
    noise = np.clip(np.random.default_rng(0).normal(128, 30, (128, 128)), 0, 255).astype(np.uint8)
    measured = measure_field(noise, 2.0, ("particles",))
    assert not measured.segmentation.trusted
    assert measured.outlined is None
    assert {m.name for m in measured.measurements} >= {"particle count", "particle area fraction"}
    for m in measured.measurements:
        assert m.quantity is None
        assert f"not certain: {measured.segmentation.confidence:.2f}" in m.refused
        assert m.method.endswith(f"; outlines by {measured.segmentation.method}")


def test_an_even_field_has_no_number_of_any_particle():
    found = named(by_threshold(np.full((100, 120), 90, np.uint8)))
    assert found["particle count"].quantity.value == 0
    assert found["particle diameter"].refused == "no particle was found"


def test_what_lies_under_print_is_counted_and_not_sized(field):
    whole = named(by_threshold(field))
    row, column = np.argwhere(field < 120)[0]
    box = Box(top=row + 2, left=max(0, column - 3), bottom=row + 6, right=column + 3)
    printed = named(by_threshold(field, burnt_in=(box,)))
    assert printed["particle count"].quantity == whole["particle count"].quantity
    assert whole["particle diameter"].quantity.n == 12
    assert printed["particle diameter"].quantity.n == 11


def test_a_grey_field_in_three_channels_measures_the_same(field):
    kinds = ("particles", "pores", "quality")
    grey, colour = (by_threshold(image, kinds=kinds) for image in (field, np.dstack([field] * 3)))
    assert grey.measurements == colour.measurements


def test_an_array_of_another_shape_is_refused(field):
    with pytest.raises(ValueError, match=r"not \(160, 160, 2\)"):
        measure_field(np.dstack([field] * 2), None, ("quality",))


def test_the_field_itself_is_left_as_it_was(field):
    before = field.copy()
    by_threshold(field, kinds=tuple(NAMES))
    assert np.array_equal(field, before)


def test_fibres_are_not_counted_as_particles():
    image = phantoms.draw("Fibres", 7008, (512, 512)).field
    found = measure_field(image, None, ("particles", "fibres"))
    told = {m.name: m for m in found.measurements}
    assert told["fibre diameter"].quantity is not None
    assert told["particle count"].quantity is None
    assert found.crossed is not None and found.outlined is None
