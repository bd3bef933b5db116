"""Pixels of instrument files, as they were written; stacks, spectra and damage."""

import numpy as np
import pytest

from micrographia.errors import DamagedFile, UnsupportedFormat
from micrographia.micrographs.read import decode
from tests.micrographs import instruments as made


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize(("kind", "dtype"), [(1, np.int16), (2, np.float32), (6, np.uint8), (10, np.uint16)])
def test_a_dm_image(version, kind, dtype):
    pixels = decode(made.dm(version, data_type=kind)).pixels
    assert (pixels.shape, pixels.dtype) == ((48, 64), np.dtype(dtype))
    assert np.array_equal(pixels.ravel(), np.arange(48 * 64) % 200)


def test_a_dm_stack_gives_its_first_plane_and_says_so():
    raster = decode(made.dm(dims=(8, 6, 5), data_type=1))
    assert raster.pixels.shape == (6, 8)
    assert "the first of 5 planes was taken" in raster.notes


def test_complex_values_are_refused():
    with pytest.raises(UnsupportedFormat, match="complex"):
        decode(made.dm(data_type=3))


def test_an_emd_image_and_what_was_left():
    raster = decode(made.velox(frames=3, detectors=("HAADF", "BF", "DF4")))
    assert np.array_equal(raster.pixels, np.arange(0, 32 * 32 * 3, 3).reshape(32, 32))
    assert raster.notes == (
        "the first of 3 frames was taken",
        "further images in the file were left out: BF, DF4",
    )


def test_an_emd_of_berkeley():
    assert np.array_equal(decode(made.berkeley()).pixels, np.arange(256).reshape(16, 16))


@pytest.mark.parametrize("version", [0x0210, 0x0220])
def test_a_ser_image_is_turned_upright(version):
    assert np.array_equal(decode(made.ser(version=version)).pixels, np.arange(24 * 32).reshape(24, 32))


@pytest.mark.parametrize("mode", [0, 1, 2, 6])
def test_an_mrc_image_is_turned_upright(mode):
    raster = decode(made.mrc(mode=mode, planes=2))
    assert np.array_equal(raster.pixels, np.arange(32 * 24).reshape(24, 32) % 100)
    assert raster.notes == ("the first of 2 planes was taken",)


def test_an_old_mrc_is_known_by_its_stamp():
    assert decode(made.mrc(word=bytes(4))).header.format == "MRC"


WHOLE = {
    "dm3": made.dm(3),
    "dm4": made.dm(4),
    "velox": made.velox(),
    "ser": made.ser(),
    "mrc": made.mrc(),
    "fei": made.tiff((34682, made.fei_text())),
}


@pytest.mark.parametrize("name", WHOLE)
def test_cut_anywhere_it_is_damaged_not_half_read(name):
    whole = WHOLE[name]
    for share in (0.3, 0.6, 0.9, 0.99):
        with pytest.raises((DamagedFile, UnsupportedFormat)):
            decode(whole[: int(share * len(whole))])
