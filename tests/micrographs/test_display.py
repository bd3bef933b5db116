"""Bit depth is reduced in one place, and what that does is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from micrographia.catalog import Objects
from micrographia.micrographs import display as module
from micrographia.micrographs.display import open_display, to_display
from micrographia.micrographs.read import decode
from micrographia.records import Micrograph
from tests.micrographs import files

DEEP = st.sampled_from([np.uint16, np.uint32, np.int8, np.int16, np.int32, np.float32, np.float64])


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_8_bits_pass_untouched(pixels):
    shown, how = to_display(pixels)
    assert np.array_equal(shown, pixels)
    assert (how.black, how.white, how.low_percentile) == (0, 255, None)


@pytest.mark.parametrize("bottom, top", [(0, 65535), (1000, 5000), (60000, 60300)])
def test_a_16_bit_ramp_keeps_its_grey_levels(bottom, top):
    ramp = np.linspace(bottom, top, 256 * 300).astype(np.uint16).reshape(256, 300)
    shown, how = to_display(decode(files.tiff(ramp)).pixels)
    assert len(np.unique(shown)) >= 200
    assert (how.low_percentile, how.high_percentile) == (0.1, 99.9)
    assert np.array_equal(np.sort(shown, axis=None), shown.ravel())


def test_a_few_hot_pixels_do_not_darken_the_rest():
    pixels = files.texture(100, 100).astype(np.uint16)
    pixels[3, :5] = 65535
    shown, how = to_display(pixels)
    assert how.white < 256
    assert shown.std() > 20


@given(
    hnp.arrays(
        DEEP,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_order_is_kept_and_the_ends_are_black_and_white(pixels):
    shown, how = to_display(pixels)
    order = np.argsort(pixels, axis=None)
    assert (np.diff(shown.ravel()[order].astype(int)) >= 0).all()
    assert how.black < how.white
    if pixels.min() < pixels.max():
        assert (shown.min(), shown.max()) == (0, 255)
    else:
        assert not shown.any()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_sparse_mask_is_seen(dtype):
    mask = np.zeros((200, 200), dtype)
    mask[50, 50] = 1
    shown, how = to_display(mask)
    assert shown[50, 50] == 255
    assert shown.sum() == 255
    assert (how.low_percentile, how.high_percentile) == (0, 100)


def test_percentiles_are_those_of_numpy():
    pixels = np.random.default_rng(0).normal(30000, 3000, (300, 300)).astype(np.uint16)
    low, high = np.percentile(pixels.astype(float), [0.1, 99.9], method="inverted_cdf")
    for values in (pixels, pixels.astype(np.float32), pixels.astype(np.int32)):
        how = to_display(values)[1]
        assert (how.black, how.white) == (low, high)
    signed = to_display((pixels.astype(np.int32) - 32768).astype(np.int16))[1]
    assert (signed.black, signed.white) == (low - 32768, high - 32768)


def test_a_sample_ranks_large_images_nearly_as_well(monkeypatch):
    pixels = np.random.default_rng(0).normal(0, 1, (1000, 1000))
    exact = to_display(pixels)[1]
    monkeypatch.setattr(module, "SAMPLE_SIZE", 200_000)
    sampled = to_display(pixels)[1]
    assert sampled.black == pytest.approx(exact.black, rel=0.05)
    assert sampled.white == pytest.approx(exact.white, rel=0.05)
    assert to_display(pixels)[1] == sampled


def test_blocks_make_no_difference(monkeypatch):
    pixels = files.colour().astype(np.uint16) * 200
    whole = to_display(pixels)[0]
    monkeypatch.setattr(module, "BLOCK_VALUES", 1000)
    assert np.array_equal(to_display(pixels)[0], whole)


def test_colour_keeps_its_balance_and_equal_channels_are_grey():
    colour = files.colour().astype(np.uint16)
    shown, _ = to_display(colour * 200 + 7)
    difference = colour[..., 0].astype(int) - colour[..., 1]
    assert np.array_equal(
        np.sign(difference)[abs(difference) > 1],
        np.sign(shown[..., 0].astype(int) - shown[..., 1])[abs(difference) > 1],
    )
    assert to_display(np.dstack([files.texture()] * 3))[0].ndim == 2
    assert to_display(files.colour())[0].ndim == 3


def test_a_catalogued_micrograph_is_shown_as_it_was_recorded(tmp_path):
    objects = Objects(str(tmp_path))
    data = files.tiff(files.texture().astype(np.uint16) * 13 + 500)
    shown, how = to_display(decode(data).pixels)
    micrograph = Micrograph(
        id=objects.put(data),
        name="field.tif",
        format="TIFF",
        width=80,
        height=60,
        channels=1,
        bits=16,
        display=how,
    )
    assert np.array_equal(open_display(objects, micrograph), shown)
    darker = micrograph.model_copy(update={"display": how.model_copy(update={"white": how.white * 2})})
    assert open_display(objects, darker).max() < 255
