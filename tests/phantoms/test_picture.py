"""A drawn micrograph is the same each time, and its truth is what is drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micrographia import phantoms
from micrographia.errors import RecipeError
from micrographia.phantoms.truth import DISPLAY_WIDTH_MM

EVERY = [(name, kind.name) for name, kinds in phantoms.VARIETIES.items() for kind in kinds]


def test_the_ten_categories():
    assert len(phantoms.CATEGORIES) == 10
    assert phantoms.CATEGORIES[3] == "MEMS Devices and Electrodes"
    assert all(len(kinds) >= 3 for kinds in phantoms.VARIETIES.values())


@pytest.mark.parametrize(("category", "variety"), EVERY)
def test_same_arguments_same_bytes_whatever_came_before(category, variety):
    first = phantoms.draw(category, 3, (96, 128), "fei", variety=variety)
    phantoms.draw("Tips", 8, (64, 64))
    again = phantoms.draw(category, 3, (96, 128), "fei", variety=variety)
    other = phantoms.draw(category, 4, (96, 128), "fei", variety=variety)
    assert np.array_equal(first.image, again.image)
    assert first.truth == again.truth
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize(("category", "variety"), EVERY)
@pytest.mark.parametrize("seed", [11, 12])
def test_truth_is_what_is_drawn(category, variety, seed):
    drawn = phantoms.draw(category, seed, (144, 176), variety=variety)
    truth = drawn.truth
    assert truth.variety == variety
    for name, quantity in truth.quantities.items():
        if name.endswith("_nm"):
            pixels = truth.quantities[f"{name[:-3]}_px"].value
            assert quantity.value == pytest.approx(pixels * drawn.pixel_size_nm)
    if drawn.instances is None:
        assert truth.objects == ()
        return
    sizes = np.bincount(drawn.instances.ravel(), minlength=1)[1:]
    assert [o.label for o in truth.objects] == list(range(1, len(sizes) + 1))
    assert [o.visible_px for o in truth.objects] == sizes.tolist()
    assert all(o.visible_px >= 6 for o in truth.objects)
    _counts_and_areas_agree(drawn, len(sizes))


def _counts_and_areas_agree(drawn, number):
    quantities = drawn.truth.quantities
    counted = [q.value for name, q in quantities.items() if name in ("count", "pore_count", "pinhole_count")]
    assert counted == [number]
    covered = 100 * float((drawn.instances > 0).mean())
    for name in ("area_fraction", "pinhole_area_fraction"):
        # Pores too small to be objects count as pores all the same.
        if name in quantities and "porosity" not in quantities:
            assert quantities[name].value == pytest.approx(covered, abs=0.5)
    for o in drawn.truth.objects:
        assert o.equivalent_diameter_px > 0
        if o.whole:
            equal = np.sqrt(4 / np.pi * o.visible_px)
            assert o.equivalent_diameter_px == pytest.approx(equal, rel=0.02)


def test_objects_that_are_hidden_or_cut_are_not_whole():
    drawn = phantoms.draw("Powder", 5, (256, 256))
    edge = np.concatenate([drawn.instances[0], drawn.instances[-1]])
    whole = {o.label for o in drawn.truth.objects if o.whole}
    assert whole
    assert not whole & set(edge.tolist())
    hidden = [o for o in drawn.truth.objects if not o.whole]
    areas = [np.pi / 4 * o.equivalent_diameter_px**2 for o in hidden]
    assert sum(areas) > 1.2 * sum(o.visible_px for o in hidden)


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["Particles", "Biological", "Powder", "MEMS Devices and Electrodes"]),
    st.integers(0, 10_000),
)
def test_twice_the_pixels_show_the_same_things_at_half_the_pixel_size(category, seed):
    small, large = (phantoms.draw(category, seed, (side, side)) for side in (96, 192))
    assert large.pixel_size_nm == pytest.approx(small.pixel_size_nm / 2)
    assert large.instrument.magnification == pytest.approx(small.instrument.magnification)
    assert large.truth.variety == small.truth.variety
    for name, quantity in large.truth.quantities.items():
        if name.endswith("_nm") and "mean" not in name and "sd" not in name:
            assert small.truth.quantities[name].value == pytest.approx(quantity.value, rel=1e-6)


@pytest.mark.parametrize("category", phantoms.CATEGORIES)
@pytest.mark.parametrize("databar", [None, "fei", "zeiss", "tescan"])
@pytest.mark.parametrize("size", [(80, 72), (100, 300)])
def test_any_size_and_databar(category, databar, size):
    drawn = phantoms.draw(category, 1, size, databar)
    assert drawn.image.shape == size
    assert drawn.image.dtype == np.uint8
    assert drawn.image.std() > 8
    assert (drawn.databar is None) == (databar is None)
    assert drawn.field.shape[0] == (size[0] if databar is None else drawn.databar.top)
    if drawn.instances is not None:
        assert drawn.instances.shape == size
        assert not drawn.instances[drawn.field.shape[0] :].any()


def test_magnification_is_display_width_over_field_width():
    drawn = phantoms.draw("Tips", 0, (96, 96))
    field_mm = 96 * drawn.pixel_size_nm * 1e-6
    assert drawn.instrument.magnification == pytest.approx(DISPLAY_WIDTH_MM / field_mm)


def test_images_of_one_specimen_share_what_the_specimen_has():
    first, second = (phantoms.draw("Fibres", seed, (96, 96), specimen=7) for seed in (70, 71))
    assert first.truth.variety == second.truth.variety
    assert first.instrument.accelerating_voltage == second.instrument.accelerating_voltage
    assert first.pixel_size_nm != second.pixel_size_nm
    assert not np.array_equal(first.image, second.image)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"category": "Fibers"}, "Fibres"),
        ({"category": "Tips", "variety": "a needle"}, "a needle"),
        ({"category": "Tips", "databar": "jeol"}, "tescan"),
        ({"category": "Tips", "size": (60, 60), "databar": "fei"}, "38 x 60"),
        ({"category": "Tips", "size": (200, 10)}, "200 x 10"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_what_can(arguments, word):
    with pytest.raises(RecipeError, match=word):
        phantoms.draw(**{"seed": 0, "size": (96, 96), **arguments})
