"""PNG (ISO/IEC 15948): every chunk is checked, and only those that make pixels reach the decoder."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import imagecodecs

from micrographia.errors import DamagedFile
from micrographia.micrographs.formats import ifd
from micrographia.micrographs.header import Header, Pixels

MAGIC = b"\x89PNG\r\n\x1a\n"
SIGNATURE = re.compile(re.escape(MAGIC))
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PALETTE = 3
BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, row step, column step of the seven passes (clause 8.2)."""
DEFLATE_RATIO = 1032
"""Deflate cannot write more than 1032 bytes with one (RFC 1951: a length of 258 in two bits)."""
BLOCK = 1 << 20


@dataclass
class Chunks:
    """What was found between the signature and IEND."""

    header: bytes = b""
    palette: bytes = b""
    transparency: bytes = b""
    exif: bytes = b""
    frames: int = 1
    image: list[memoryview] = field(default_factory=list)


def inspect(data: bytes) -> Header:
    """The header: the chunks before the image data."""
    return _header(_chunks(data, up_to=b"IDAT"))


def decode(data: bytes, header: Header) -> tuple[Pixels, tuple[str, ...]]:
    """Values as stored: uint8 or uint16; a palette is expanded, 1, 2 and 4 bits spread over 0..255."""
    chunks = _chunks(data, up_to=b"IEND")
    _check_image_data(chunks, header)
    pixels: Pixels = imagecodecs.png_decode(_essential(chunks))
    notes = []
    if chunks.header[9] == PALETTE:
        notes.append("its palette was expanded to RGB")
    if chunks.frames > 1:
        notes.append(f"animated: the default image of {chunks.frames} frames was taken")
    return pixels, tuple(notes)


def _walk(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view, at = memoryview(data), len(MAGIC)
    while True:
        if at + 12 > len(data):
            raise DamagedFile(f"it ends at byte {len(data)} without an IEND chunk: truncated")
        length, name = struct.unpack_from(">I4s", data, at)
        body = view[at + 8 : at + 8 + length]
        if at + 12 + length > len(data):
            raise DamagedFile(
                f"chunk {name!r} at byte {at} needs {length} bytes and the file ends: truncated"
            )
        (crc,) = struct.unpack_from(">I", data, at + 8 + length)
        critical = not name[0] & 0x20
        if critical and zlib.crc32(body, zlib.crc32(name)) != crc:
            raise DamagedFile(f"chunk {name!r} at byte {at} does not match its checksum")
        yield name, body
        if name == b"IEND":
            return
        at += 12 + length


def _chunks(data: bytes, up_to: bytes) -> Chunks:
    found = Chunks()
    for name, body in _walk(data):
        if not found.header and name != b"IHDR":
            raise DamagedFile(f"its first chunk is {name!r}, not IHDR")
        if name == b"IHDR":
            found.header = bytes(body)
        elif name == b"IDAT":
            found.image.append(body)
        elif name == b"PLTE":
            found.palette = bytes(body)
        elif name == b"tRNS":
            found.transparency = bytes(body)
        elif name == b"eXIf":
            found.exif = bytes(body)
        elif name == b"acTL" and len(body) == 8:
            (found.frames,) = struct.unpack_from(">I", body)
        if name == up_to:
            break
    return found


def _header(chunks: Chunks) -> Header:
    if len(chunks.header) != 13:
        raise DamagedFile(f"its IHDR chunk has {len(chunks.header)} bytes, not 13")
    columns, rows, bits, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", chunks.header)
    if bits not in BITS.get(colour, ()) or compression or filtering or interlace > 1:
        raise DamagedFile(f"IHDR names no PNG: {bits} bits, colour type {colour}, interlace {interlace}")
    if not 0 < columns < 2**31 or not 0 < rows < 2**31:
        raise DamagedFile(f"IHDR claims {columns} x {rows} pixels")
    if colour == PALETTE and not chunks.palette:
        raise DamagedFile("colour type 3 without a palette")
    return Header(
        format="PNG",
        rows=rows,
        columns=columns,
        channels=CHANNELS[colour],
        bits=bits,
        pages=max(1, chunks.frames),
        orientation=ifd.orientation(chunks.exif.removeprefix(b"Exif\0\0")) if chunks.exif else 1,
    )


def _scanline_bytes(header: Header, interlaced: bool) -> int:
    """Bytes of the filtered scanlines before compression (clauses 7.2 and 8)."""
    bits = header.channels * header.bits
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    total = 0
    for first_row, first_column, row_step, column_step in passes:
        rows = -(-max(0, header.rows - first_row) // row_step)
        columns = -(-max(0, header.columns - first_column) // column_step)
        total += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    return total


def _check_image_data(chunks: Chunks, header: Header) -> None:
    """Inflate in small blocks and count: the decoder then meets exactly the bytes it needs."""
    expected = _scanline_bytes(header, interlaced=bool(chunks.header[12]))
    stored = sum(len(part) for part in chunks.image)
    if expected > stored * DEFLATE_RATIO:
        raise DamagedFile(f"{stored} bytes of image data cannot hold {header.columns} x {header.rows} pixels")
    inflater, total = zlib.decompressobj(), 0
    for part in chunks.image:
        pending: bytes | memoryview = part
        while len(pending) and not inflater.eof and total <= expected:
            total += len(inflater.decompress(pending, BLOCK))
            pending = inflater.unconsumed_tail
    if total != expected or not inflater.eof:
        raise DamagedFile(f"its image data inflate to {total} bytes, the header asks for {expected}")


def _essential(chunks: Chunks) -> bytes:
    """The same image without text, profiles and times, which have no say in the stored values."""
    parts = [(b"IHDR", chunks.header)]
    if chunks.palette and chunks.header[9] == PALETTE:
        parts.append((b"PLTE", chunks.palette))
    if chunks.transparency:
        parts.append((b"tRNS", chunks.transparency))
    parts += [(b"IDAT", b"".join(chunks.image)), (b"IEND", b"")]
    return MAGIC + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))
        for name, body in parts
    )
