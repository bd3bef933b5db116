"""BMP (Windows bitmap): the bytes its rows need are counted, then Pillow's plug-in decodes them."""

from __future__ import annotations

import io
import re
import struct

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile

from micrographia.errors import DamagedFile, UnsupportedFormat
from micrographia.micrographs.header import Header, Pixels

SIGNATURE = re.compile(rb"BM.{4}\0{4}", re.DOTALL)
"""Two letters alone begin many a text; the four reserved bytes are zero."""
PLAIN, RLE8, RLE4, BITFIELDS, ALPHA_BITFIELDS = 0, 1, 2, 3, 6
BITS = {PLAIN: (1, 4, 8, 16, 24, 32), RLE8: (8,), RLE4: (4,), BITFIELDS: (16, 32), ALPHA_BITFIELDS: (16, 32)}
CORE = 12
INFO_HEADERS = (40, 52, 56, 64, 108, 124)


def inspect(data: bytes) -> Header:
    """The header alone."""
    return _parse(data)[0]


def _parse(data: bytes) -> tuple[Header, int]:
    """The header, and how many bytes a file with it has at least."""
    try:
        pixels_at, size = struct.unpack_from("<II", data, 10)
        if size == CORE:
            columns, rows, _, bits = struct.unpack_from("<HHHH", data, 18)
            compression = PLAIN
        elif size in INFO_HEADERS:
            columns, rows, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        else:
            raise DamagedFile(f"its header claims {size} bytes, which no BMP header has")
        alpha = _alpha_mask(data, size, compression)
    except struct.error:
        raise DamagedFile(f"it ends at byte {len(data)}, within its header: truncated") from None
    rows = abs(rows)  # a negative height says that the first row is the top one
    if columns <= 0 or rows == 0:
        raise DamagedFile(f"its header claims {columns} x {rows} pixels")
    if bits not in BITS.get(compression, ()):
        raise UnsupportedFormat(f"BMP with compression {compression} and {bits} bits", "save it as PNG")
    stored = 0 if compression in (RLE8, RLE4) else (columns * bits + 31) // 32 * 4 * rows
    channels = 1 if bits <= 8 else 4 if alpha else 3
    return Header("BMP", rows, columns, channels, bits if bits <= 8 else 8), pixels_at + stored


def decode(data: bytes, header: Header) -> tuple[Pixels, tuple[str, ...]]:
    """uint8 grey, RGB or RGBA; a palette is expanded, 16-bit pixels are spread over 0..255 a channel."""
    needed = _parse(data)[1]
    if needed > len(data):
        raise DamagedFile(f"its header asks for {needed} bytes, it has {len(data)}: truncated")
    # The plug-in and not Image.open: that one applies a process-wide limit of its own.
    with BmpImageFile(io.BytesIO(data)) as image:
        image.load()
        if image.mode == "P":
            return np.asarray(image.convert("RGB")), ("its palette was expanded to RGB",)
        return np.asarray(image.convert("L") if image.mode == "1" else image), ()


def _alpha_mask(data: bytes, size: int, compression: int) -> int:
    """Which bits of a pixel are its alpha; only headers of 56 bytes and more say so."""
    if size < 56 or compression not in (BITFIELDS, ALPHA_BITFIELDS):
        return 0
    return int(struct.unpack_from("<I", data, 14 + 52)[0])
