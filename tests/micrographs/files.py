"""Image files drawn for the tests of this room, and ways to break them."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import tifffile
from PIL import Image


def texture(rows=60, columns=80, seed=0):
    """Waves, blobs and noise, uint8: enough structure for every codec to have something to do."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:rows, :columns]
    waves = sum(np.sin((row * a + column * b) / 20 + c) for a, b, c in rng.normal(0, 3, (6, 3)))
    return np.clip(128 + 25 * waves + rng.normal(0, 4, (rows, columns)), 0, 255).astype(np.uint8)


def colour(rows=60, columns=80, seed=0):
    return np.dstack([texture(rows, columns, seed + i) for i in range(3)])


def by_pillow(pixels, form, mode=None, **options):
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, form, **options)
    return buffer.getvalue()


def png(pixels):
    """8 or 16 bits, grey or colour."""
    return bytes(imagecodecs.png_encode(pixels))


def jpeg(pixels, **options):
    return by_pillow(pixels, "JPEG", **options)


def bmp(pixels):
    return by_pillow(pixels, "BMP")


def tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def crafted_png(columns, rows, scanlines=b"", extra=b"", bits=8, colour_type=0):
    """A PNG whose header claims what it likes; every checksum is right."""
    head = struct.pack(">IIBBBBB", columns, rows, bits, colour_type, 0, 0, 0)
    parts = chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(scanlines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def crafted_jpeg(columns, rows):
    """A small JPEG whose frame header was rewritten."""
    data = bytearray(jpeg(texture()))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", rows, columns)
    return bytes(data)


def crafted_bmp(columns, rows):
    data = bytearray(bmp(texture()))
    data[18:26] = struct.pack("<ii", columns, rows)
    return bytes(data)


def with_tag(data, tag, value):
    """A little-endian classic TIFF with the value field of one tag of its first directory overwritten."""
    data = bytearray(data)
    (at,) = struct.unpack_from("<I", data, 4)
    (n_entries,) = struct.unpack_from("<H", data, at)
    for entry in range(at + 2, at + 2 + 12 * n_entries, 12):
        if struct.unpack_from("<H", data, entry) == (tag,):
            data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, value)
            return bytes(data)
    raise KeyError(tag)


def with_tag_count(data, tag, count):
    """The same with the count of values overwritten."""
    data = bytearray(data)
    (at,) = struct.unpack_from("<I", data, 4)
    (n_entries,) = struct.unpack_from("<H", data, at)
    for entry in range(at + 2, at + 2 + 12 * n_entries, 12):
        if struct.unpack_from("<H", data, entry) == (tag,):
            data[entry + 4 : entry + 8] = struct.pack("<I", count)
            return bytes(data)
    raise KeyError(tag)


KINDS = {
    "grey.png": lambda: png(texture()),
    "grey16.png": lambda: png(texture().astype(np.uint16) * 257),
    "colour.png": lambda: png(colour()),
    "palette.png": lambda: by_pillow(colour(), "PNG", mode="P"),
    "grey.jpg": lambda: jpeg(texture()),
    "colour.jpg": lambda: jpeg(colour(), progressive=True),
    "grey.bmp": lambda: bmp(texture()),
    "colour.bmp": lambda: bmp(colour()),
    "plain.tif": lambda: tiff(texture()),
    "big.tif": lambda: tiff(texture(), bigtiff=True),
    "lzw16.tif": lambda: tiff(
        texture().astype(np.uint16) * 257, compression="lzw", predictor=2, rowsperstrip=9
    ),
    "tiles.tif": lambda: tiff(colour(), compression="zlib", tile=(16, 16), photometric="rgb"),
    "jpeg.tif": lambda: tiff(colour(), compression="jpeg", photometric="rgb", rowsperstrip=16),
    "float.tif": lambda: tiff(texture().astype(np.float32), compression="zlib", predictor=3),
    "packbits.tif": lambda: tiff(texture(), compression="packbits"),
    "pages.tif": lambda: tiff(np.stack([texture(seed=i) for i in range(3)]), photometric="minisblack"),
    "bilevel.tif": lambda: by_pillow(texture() > 128, "TIFF", compression="group4"),
}
"""One small good file of each kind, by a file name."""
