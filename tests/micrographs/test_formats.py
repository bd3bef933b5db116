"""The corners of each format."""

import contextlib
import struct
import zlib

import imagecodecs
import numpy as np
import pytest

from micrographia.errors import DamagedFile, ImageTooLarge, UnreadableFile, UnsupportedFormat
from micrographia.micrographs.formats import ifd
from micrographia.micrographs.read import decode, inspect
from tests.micrographs import files

GREY, COLOUR = files.texture(), files.colour()
GREY16 = GREY.astype(np.uint16) * 257


# PNG


def test_16_bit_colour_png_keeps_its_depth():
    deep = np.random.default_rng(0).integers(0, 65536, (40, 50, 3), dtype=np.uint16)
    assert np.array_equal(decode(files.png(deep)).pixels, deep)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_of_png_spread_over_the_grey_range(bits):
    levels = 2**bits
    values = np.arange(40 * 48).reshape(40, 48) % levels
    packed = (values.reshape(40, -1, 8 // bits) << np.arange(8 - bits, -1, -bits)).sum(-1).astype(np.uint8)
    scanlines = b"".join(b"\0" + row.tobytes() for row in packed)
    raster = decode(files.crafted_png(48, 40, scanlines, bits=bits))
    assert raster.header.bits == bits
    assert np.array_equal(raster.pixels, values * 255 // (levels - 1))


@pytest.mark.parametrize("colour_type", ["L", "RGB", "P", "LA"])
def test_interlaced_png(colour_type):
    from PIL import Image

    image = Image.fromarray(COLOUR).convert(colour_type)
    plain = files.by_pillow(COLOUR, "PNG", mode=colour_type)
    interlaced = adam7(np.asarray(image))
    if colour_type != "P":
        assert np.array_equal(decode(interlaced).pixels, decode(plain).pixels)


def adam7(pixels):
    """A PNG written in the seven passes of ISO/IEC 15948, clause 8.2."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    lines = [
        b"\0" + row.tobytes()
        for r, c, dr, dc in passes
        for row in pixels[r::dr, c::dc]
        if pixels[r::dr, c::dc].size
    ]
    rows, columns, channels = pixels.shape
    head = struct.pack(">IIBBBBB", columns, rows, 8, {1: 0, 2: 4, 3: 2}[channels], 0, 0, 1)
    body = files.chunk(b"IDAT", zlib.compress(b"".join(lines)))
    return b"\x89PNG\r\n\x1a\n" + files.chunk(b"IHDR", head) + body + files.chunk(b"IEND", b"")


@pytest.mark.parametrize("rows_written", [39, 41])
def test_a_png_with_too_few_or_too_many_rows(rows_written):
    scanlines = b"".join(b"\0" + bytes(range(50)) for _ in range(rows_written))
    with pytest.raises(DamagedFile, match="header asks for"):
        decode(files.crafted_png(50, 40, scanlines))


def test_one_flipped_bit_of_png_data_is_found():
    data = bytearray(files.png(GREY))
    data[len(data) // 2] ^= 1
    with pytest.raises(DamagedFile, match="checksum"):
        decode(bytes(data))


def test_text_and_profiles_of_a_png_are_never_inflated():
    """zTXt and iCCP that would inflate a thousandfold has no say in the pixels."""
    bomb = zlib.compress(bytes(2**25), 1)
    extra = files.chunk(b"zTXt", b"note\0\0" + bomb) + files.chunk(b"iCCP", b"p\0\0" + bomb)
    scanlines = b"".join(b"\0" + row.tobytes() for row in GREY)
    assert np.array_equal(decode(files.crafted_png(80, 60, scanlines, extra)).pixels, GREY)


def test_the_default_image_of_an_animated_png():
    import io

    from PIL import Image

    buffer = io.BytesIO()
    frames = [Image.fromarray(files.texture(seed=i)) for i in range(3)]
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    raster = decode(buffer.getvalue())
    assert np.array_equal(raster.pixels, GREY)
    assert raster.header.pages == 3
    assert "animated" in raster.notes[0]


# JPEG


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 2}, {"restart_marker_rows": 1}]
)
def test_jpeg_as_pillow_decodes_it(options):
    import io

    from PIL import Image

    data = files.jpeg(COLOUR, quality=90, **options)
    assert np.array_equal(decode(data).pixels, np.asarray(Image.open(io.BytesIO(data))))


def test_12_bit_jpeg():
    deep = GREY.astype(np.uint16) * 16
    raster = decode(imagecodecs.jpeg8_encode(deep, level=100, bitspersample=12))
    assert raster.header.bits == 12
    assert np.abs(raster.pixels.astype(int) - deep).max() < 64


def test_cmyk_jpeg_becomes_rgb():
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(COLOUR).convert("CMYK").save(buffer, "JPEG", quality=95)
    expected = np.asarray(Image.open(buffer).convert("RGB")).astype(int)
    raster = decode(buffer.getvalue())
    assert np.abs(raster.pixels - expected).max() <= 1
    assert "CMYK" in raster.notes[0]


def test_a_jpeg_of_a_thousand_scans_is_refused():
    data = files.jpeg(COLOUR, progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(DamagedFile, match="scans"):
        decode(data[:-2] + data[last:-2] * 1000 + data[-2:])


def test_the_thumbnail_in_exif_does_not_end_the_jpeg():
    data = files.jpeg(GREY)
    thumbnail = files.jpeg(GREY[::4, ::4])
    body = b"Exif\0\0" + thumbnail
    marked = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    assert np.array_equal(decode(marked).pixels, decode(data).pixels)
    with pytest.raises(DamagedFile):
        decode(marked[: len(marked) // 2])


# BMP


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_bmp_modes(mode):
    from PIL import Image

    expected = Image.fromarray(COLOUR).convert(mode)
    raster = decode(files.by_pillow(COLOUR, "BMP", mode=mode))
    assert np.array_equal(
        raster.pixels, np.asarray(expected.convert("RGB" if mode == "P" else "L" if mode == "1" else mode))
    )


def test_top_down_bmp():
    data = bytearray(files.bmp(GREY))
    data[22:26] = struct.pack("<i", -60)
    assert np.array_equal(decode(bytes(data)).pixels, GREY[::-1])


def test_bmp_of_unknown_compression():
    data = bytearray(files.bmp(GREY))
    data[30:34] = struct.pack("<I", 4)
    with pytest.raises(UnsupportedFormat, match="compression 4"):
        decode(bytes(data))


# TIFF

DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
LAYOUTS = [
    {},
    {"byteorder": ">"},
    {"bigtiff": True},
    {"rowsperstrip": 7},
    {"tile": (16, 16)},
    {"compression": "lzw"},
    {"compression": "zlib", "rowsperstrip": 7},
    {"compression": "packbits"},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_sample_type_and_layout_of_tiff(dtype, layout):
    values = (GREY.astype(float) - (100 if dtype[0] == "i" else 0)).astype(dtype)
    raster = decode(files.tiff(values, photometric="minisblack", **layout))
    assert np.array_equal(raster.pixels, values)
    assert raster.header.sample == {"u": "unsigned", "i": "signed", "f": "float"}[dtype[0]]
    assert raster.header.bits == 8 * values.itemsize


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw", "predictor": 2},
        {"tile": (16, 16)},
        {"planarconfig": "separate", "rowsperstrip": 9},
    ],
    ids=str,
)
@pytest.mark.parametrize("factor", [1, 257])
def test_colour_tiff(options, factor):
    values = COLOUR.astype(np.uint16 if factor > 1 else np.uint8) * factor
    stored = np.moveaxis(values, -1, 0) if options.get("planarconfig") else values
    assert np.array_equal(decode(files.tiff(stored, photometric="rgb", **options)).pixels, values)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax_compressed_tiff(compression):
    mask = GREY > 128
    raster = decode(files.by_pillow(mask, "TIFF", compression=compression))
    assert np.array_equal(raster.pixels, mask * np.uint8(255))
    assert raster.header.bits == 1


def test_12_bit_packed_tiff():
    values = GREY.astype(np.uint16) * 16
    raster = decode(files.tiff(values, bitspersample=12))
    assert raster.header.bits == 12
    assert np.array_equal(raster.pixels, values)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
def test_white_is_zero_is_turned_round(dtype):
    values = GREY.astype(dtype)
    raster = decode(files.tiff(values, photometric="miniswhite"))
    darkest, brightest = (
        np.unravel_index(values.argmax(), GREY.shape),
        np.unravel_index(values.argmin(), GREY.shape),
    )
    assert raster.pixels[darkest] == raster.pixels.min()
    assert raster.pixels[brightest] == raster.pixels.max()
    if dtype == "u1":
        assert np.array_equal(raster.pixels, 255 - GREY)
    assert "inverted" in raster.notes[0]


@pytest.mark.parametrize("factor", [1, 257])
def test_palette_tiff_with_8_and_16_bit_entries(factor):
    palette = np.random.default_rng(0).integers(0, 256, (3, 256), dtype=np.uint16)
    raster = decode(files.tiff(GREY, photometric="palette", colormap=palette * np.uint16(factor)))
    assert np.array_equal(raster.pixels, palette.T[GREY])
    assert "palette" in raster.notes[0]


def test_extra_channels_of_tiff():
    two, four = np.dstack([GREY, GREY]), np.dstack([COLOUR, GREY])
    extra = decode(
        files.tiff(two, photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"])
    )
    assert np.array_equal(extra.pixels, GREY)
    assert "extra channel" in extra.notes[0]
    premultiplied = decode(files.tiff(four, photometric="rgb", extrasamples=["assocalpha"]))
    assert np.array_equal(premultiplied.pixels, COLOUR)
    alpha = decode(files.tiff(four, photometric="rgb", extrasamples=["unassalpha"]))
    assert "transparent" in alpha.notes[0]


def test_the_first_of_several_pages_with_a_note():
    raster = decode(files.tiff(np.stack([GREY, GREY[::-1]]), photometric="minisblack"))
    assert raster.header.pages == 2
    assert np.array_equal(raster.pixels, GREY)
    assert raster.notes == ("the first of 2 pages was taken",)


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        (GREY.astype(complex), {}, "sample format 6"),
        (np.dstack([GREY] * 5), {"photometric": "minisblack", "planarconfig": "contig"}, "5 x 8 bit"),
        (GREY, {"compression": "jpeg2000"}, "compression"),
    ],
)
def test_tiffs_that_are_not_read_say_why(values, options, words):
    with pytest.raises(UnsupportedFormat, match=words):
        decode(files.tiff(values, **options))


def test_a_loop_of_directories_ends():
    data = bytearray(files.tiff(GREY))
    (at,) = struct.unpack_from("<I", data, 4)
    (n_entries,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12 * n_entries, at)
    with pytest.raises(DamagedFile, match="comes back"):
        inspect(bytes(data))


def test_more_pages_than_anyone_has_are_refused(monkeypatch):
    monkeypatch.setattr(ifd, "MAX_DIRECTORIES", 3)
    with pytest.raises(ImageTooLarge, match="pages"):
        inspect(files.tiff(np.stack([GREY] * 5), photometric="minisblack"))


@pytest.mark.parametrize("tag", [273, 279])
def test_strip_counts_in_the_billions_are_refused(tag):
    with pytest.raises(UnreadableFile):
        inspect(files.with_tag_count(files.tiff(GREY), tag, 4_000_000_000))


def test_strips_outside_the_file():
    with pytest.raises(DamagedFile, match="truncated"):
        decode(files.with_tag(files.tiff(GREY), 273, 10_000_000))


def test_a_small_strip_that_inflates_without_end_stays_small():
    import resource

    data = files.tiff(GREY, compression="zlib", rowsperstrip=60)
    bomb = zlib.compress(bytes(2**27), 1)
    data = files.with_tag(files.with_tag(data, 273, len(data)), 279, len(bomb)) + bomb
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(DamagedFile):
        decode(data)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 60e6


def test_a_tile_may_not_hold_a_larger_jpeg():
    """The stream's own header decides what is allocated, so it is compared with the tile's."""
    small = files.tiff(COLOUR, compression="jpeg", photometric="rgb", rowsperstrip=60)
    frame = small.index(b"\xff\xc0")
    data = bytearray(small)
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    with pytest.raises(DamagedFile, match="holds a JPEG of 60000 x 60000"):
        decode(bytes(data))
