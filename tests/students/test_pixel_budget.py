import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPImageProcessorPil, LlavaNextImageProcessorPil, Qwen2VLImageProcessorPil

from micrographia.errors import StudentError
from micrographia.students.pixel_budget import fitted, ground_for, prepared

SIDES = st.integers(1, 5000)


@given(rows=SIDES, columns=SIDES, most=st.integers(1, 10**7))
def test_a_fitted_image_is_within_its_budget_and_keeps_its_form(rows, columns, most):
    low, wide = fitted((rows, columns), most)
    assert 1 <= low <= rows
    assert 1 <= wide <= columns
    assert low * wide <= max(most, 1)
    factor = min(1, (most / (rows * columns)) ** 0.5)
    if min(rows, columns) * factor >= 1:
        assert min(low, wide) > min(rows, columns) * factor - 1
        assert max(low, wide) == pytest.approx(max(rows, columns) * factor, abs=1)


def test_no_budget_leaves_it_as_it_is():
    assert fitted((3000, 4000), None) == (3000, 4000)
    assert fitted((30, 40), 1200) == (30, 40)


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 3)])
def test_it_becomes_8_bit_colour_by_percentiles_and_never_white(shape):
    ramp = np.linspace(0, 60_000, int(np.prod(shape)), dtype=np.uint16).reshape(shape)
    image = prepared(ramp, None, None)
    assert (image.mode, image.height, image.width) == ("RGB", 40, 60)
    assert len(np.unique(np.asarray(image))) > 200


def clip(shortest=32, rows=32, columns=32):
    return CLIPImageProcessorPil(
        size={"shortest_edge": shortest}, crop_size={"height": rows, "width": columns}
    )


def test_where_the_middle_is_cut_out_the_image_lies_whole_on_a_square_of_mean_colour():
    ground = ground_for(clip())
    image = np.asarray(prepared(np.full((20, 50), 255, np.uint8), None, ground))
    assert image.shape == (50, 50, 3)
    assert (image[15:35] == 255).all()
    assert (image[[0, 14, 35, 49]] == np.round(np.array(clip().image_mean) * 255)).all()
    square = np.asarray(prepared(np.full((50, 50), 255, np.uint8), None, ground))
    assert (square == 255).all()


def test_what_sees_the_whole_or_tiles_of_it_needs_no_ground():
    tiles = LlavaNextImageProcessorPil(
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        image_grid_pinpoints=[[32, 64], [64, 32], [64, 64]],
    )
    assert ground_for(tiles) is None
    assert ground_for(Qwen2VLImageProcessorPil()) is None


@pytest.mark.parametrize("shortest", [36, 48])
def test_an_image_processor_that_cuts_even_that_is_refused(shortest):
    with pytest.raises(StudentError, match="CLIPImageProcessorPil cuts off the edges"):
        ground_for(clip(shortest))
