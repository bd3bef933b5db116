"""What every format is held to: told by content, read as stored, refused whole when damaged."""

import resource
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micrographia.errors import DamagedFile, ImageTooLarge, UnreadableFile, UnsupportedFormat
from micrographia.micrographs.limits import Limits
from micrographia.micrographs.read import decode, inspect, is_image, load
from tests.micrographs import files

GREY, COLOUR = files.texture(), files.colour()


@pytest.mark.parametrize("name", files.KINDS)
def test_the_header_is_what_is_decoded(name):
    data = files.KINDS[name]()
    header, raster = inspect(data), decode(data)
    assert raster.header == header
    assert raster.pixels.shape[:2] == (header.rows, header.columns) == (60, 80)
    assert header.decoded_bytes >= raster.pixels.nbytes


@pytest.mark.parametrize("name", [n for n in files.KINDS if "jp" not in n and n != "bilevel.tif"])
def test_lossless_files_give_the_stored_values(name):
    pixels = decode(files.KINDS[name]()).pixels
    if "16" in name:
        assert pixels.dtype == np.uint16
        assert np.array_equal(pixels, GREY.astype(np.uint16) * 257)
    elif pixels.ndim == 2:
        assert np.array_equal(pixels, GREY)
    elif "palette" not in name:
        assert np.array_equal(pixels, COLOUR)


def test_format_is_told_by_content_not_by_suffix(tmp_path):
    for name, make in files.KINDS.items():
        wrong = tmp_path / f"{name}.txt"
        wrong.write_bytes(make())
        assert is_image(wrong)
        assert decode(wrong).pixels.shape[:2] == (60, 80)


@pytest.mark.parametrize(
    "text", [b"BMW is a maker of cars, not of bitmaps", b"II. The second chapter", b"label"]
)
def test_text_is_no_image(tmp_path, text):
    (tmp_path / "notes.txt").write_bytes(text)
    assert not is_image(tmp_path / "notes.txt")
    with pytest.raises(UnsupportedFormat, match=r"notes.txt.*no image format.*PNG, JPEG, BMP, TIFF, DM3"):
        decode(tmp_path / "notes.txt")


def test_a_known_foreign_format_is_named():
    with pytest.raises(UnsupportedFormat, match="its content is GIF"):
        decode(b"GIF89a" + bytes(100))


@pytest.mark.parametrize("name", files.KINDS)
def test_no_truncation_is_taken(name):
    """Cut anywhere: a reason naming the file, never a picture filled up with grey."""
    data = files.KINDS[name]()
    unused = 16 if name == "pages.tif" else 0  # its last page shares values with the first
    for end in np.unique(np.linspace(0, len(data) - unused - 1, 60).astype(int)):
        with pytest.raises(UnreadableFile, match=r"^field_7: "):
            decode(data[:end], name="field_7")


@pytest.mark.parametrize("name", ["grey.jpg", "colour.jpg"])
def test_a_jpeg_without_its_middle_is_not_filled_with_grey(name):
    data = files.KINDS[name]()
    half = len(data) // 2
    with pytest.raises(DamagedFile):
        decode(data[:half] + data[-2:])


@settings(deadline=None, max_examples=150)
@given(
    name=st.sampled_from(sorted(files.KINDS)),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_changed_bytes_give_a_reason_or_an_image(name, edits):
    data = bytearray(files.KINDS[name]())
    for place, value in edits:
        data[int(place * len(data))] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            raster = decode(bytes(data), name=name)
        except UnreadableFile as error:
            assert str(error).startswith(name)
        else:
            assert raster.pixels.shape[:2] == inspectable(raster.header)


def inspectable(header):
    turned = header.orientation >= 5
    return (header.columns, header.rows) if turned else (header.rows, header.columns)


@pytest.mark.parametrize(
    "data",
    [
        files.crafted_png(30_000, 30_000),
        files.crafted_jpeg(30_000, 30_000),
        files.crafted_bmp(30_000, 30_000),
        files.with_tag(files.with_tag(files.tiff(GREY), 256, 30_000), 257, 30_000),
        files.crafted_png(200_000, 16),
    ],
)
def test_an_absurd_size_is_refused_from_the_header(data):
    assert len(data) < 10_000
    for look in (inspect, decode):
        with pytest.raises(ImageTooLarge, match="map: "):
            look(data, name="map")


def test_a_mosaic_of_16k_passes_the_header():
    header = inspect(files.crafted_png(16_384, 16_384, bits=16))
    assert header.rows * header.columns == 16_384**2


def test_decoded_bytes_are_bounded_too():
    with pytest.raises(ImageTooLarge, match=r"GiB decoded"):
        inspect(files.crafted_png(19_000, 19_000, bits=16, colour_type=6))


def test_a_header_that_its_data_cannot_fill_costs_no_memory():
    """Within the limits, but kilobytes cannot hold it: refused before the array is made."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in (
        files.crafted_png(19_000, 19_000),
        files.crafted_jpeg(19_000, 19_000),
        files.crafted_bmp(19_000, 19_000),
        files.with_tag(files.with_tag(files.tiff(GREY), 256, 19_000), 257, 19_000),
    ):
        with pytest.raises(DamagedFile):
            decode(data)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < 100e6


def test_empty_missing_and_oversized_files(tmp_path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(DamagedFile, match=r"empty\.png: it is empty"):
        load(tmp_path / "empty.png", Limits())
    with pytest.raises(UnreadableFile, match=r"gone\.png: cannot be opened"):
        decode(tmp_path / "gone.png")
    (tmp_path / "large.png").write_bytes(files.png(GREY))
    with pytest.raises(ImageTooLarge, match=r"large\.png: the file has"):
        decode(tmp_path / "large.png", Limits(max_file_bytes=100))


def test_transparency_is_laid_over_black_with_a_note():
    alpha = np.full(GREY.shape, 255, np.uint8)
    opaque = decode(files.png(np.dstack([COLOUR, alpha])))
    assert np.array_equal(opaque.pixels, COLOUR)
    assert "opaque alpha" in opaque.notes[0]
    alpha[:30] = 0
    half = decode(files.png(np.dstack([GREY, alpha])))
    assert half.pixels.shape == GREY.shape
    assert not half.pixels[:30].any()
    assert np.array_equal(half.pixels[30:], GREY[30:])
    assert "50.0% of it is transparent" in half.notes[0]


def test_values_that_are_no_numbers_are_bounded_with_a_note():
    values = GREY.astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    raster = decode(files.tiff(values))
    assert np.isfinite(raster.pixels).all()
    rest = values[np.isfinite(values)]
    assert raster.pixels[0, :3].tolist() == [rest.min(), rest.max(), rest.min()]
    assert np.array_equal(raster.pixels[1:], values[1:])
    assert raster.notes[0].startswith("3 values")
    with pytest.raises(DamagedFile, match="finite"):
        decode(files.tiff(np.full((20, 20), np.nan, np.float32)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_images_are_turned_upright(form, orientation):
    """Pillow's own turning is the reference."""
    import io

    from PIL import Image, ImageOps

    image = Image.fromarray(GREY)
    exif = image.getexif()
    exif[274] = orientation
    buffer = io.BytesIO()
    image.save(buffer, form, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(buffer.getvalue()))))
    raster = decode(buffer.getvalue())
    assert np.array_equal(raster.pixels, expected)
    assert bool(raster.notes) == (orientation != 1)


def test_reading_leaves_the_process_as_it_was():
    from PIL import Image, ImageFile, PngImagePlugin

    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_CHUNK)
    for make in files.KINDS.values():
        decode(make())
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_CHUNK)


@pytest.mark.real
def test_every_real_image_is_read(real_data):
    """Pillow reads the same values from ordinary 8-bit files."""
    from PIL import Image

    paths = sorted((real_data / "literature-micrographs").rglob("*.jpg"))[:40]
    paths += sorted((real_data / "kth-tips").rglob("*.png"))[::40]
    assert paths
    for path in paths:
        with Image.open(path) as image:
            assert np.array_equal(decode(path).pixels, np.asarray(image))
