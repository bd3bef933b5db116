"""JPEG (ITU-T T.81): its segments are walked to the end-of-image marker, so that none is filled with grey."""

from __future__ import annotations

import re
from dataclasses import dataclass

import imagecodecs
import numpy as np

from micrographia.errors import DamagedFile, UnsupportedFormat
from micrographia.micrographs.formats import ifd
from micrographia.micrographs.header import Header, Pixels

SIGNATURE = re.compile(rb"\xff\xd8\xff")
EOI, SOS, DQT, DHT = 0xD9, 0xDA, 0xDB, 0xC4
FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
"""Start-of-frame markers (table B.1)."""
DECODABLE = {0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA}
LOSSLESS = 0xC3
ARITHMETIC = {0xC9, 0xCA}
STANDALONE = {0x01, *range(0xD0, 0xD8)}
APP1 = 0xE1
MARKER = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")
"""The end of entropy-coded data: a marker that is neither a stuffed zero nor a restart."""
FILLER = b"\x2a\xd5\x4b" * 64
"""Put before the end-of-image marker. A decoder that has all its data passes over it; one that ran out of
data, and would fill the rest with grey without a word, takes it for image and decodes something else."""
MAX_SCANS = 64
"""A progressive photograph has about ten; thousands of scans over one image only cost time."""


@dataclass
class Structure:
    """What the segments say."""

    frame: int = 0
    bits: int = 0
    rows: int = 0
    columns: int = 0
    components: int = 0
    orientation: int = 1
    scans: int = 0
    coded_bytes: int = 0
    tables: bool = False
    end: int = 0
    """Where the end-of-image marker stands; 0 where there is none."""


def inspect(data: bytes) -> Header:
    """The header: the segments before the first scan."""
    found = structure(data, to_the_end=False)
    if not found.frame or not found.scans:
        raise DamagedFile("it has no frame or no scan: truncated")
    if found.frame not in DECODABLE:
        raise UnsupportedFormat(
            f"JPEG process SOF{found.frame - 0xC0} is not read", "save it as baseline JPEG"
        )
    if not found.rows or not found.columns:
        raise DamagedFile(f"its frame claims {found.columns} x {found.rows} pixels")
    if found.components not in (1, 3, 4):
        raise UnsupportedFormat(f"JPEG with {found.components} components is not read", "save it as TIFF")
    return Header(
        format="JPEG",
        rows=found.rows,
        columns=found.columns,
        channels=found.components,
        bits=found.bits,
        orientation=found.orientation,
    )


def decode(data: bytes, header: Header) -> tuple[Pixels, tuple[str, ...]]:
    """Grey or RGB values, uint8, or uint16 for 9 to 16 bits."""
    found = structure(data)
    if not found.end:
        raise DamagedFile(f"it ends at byte {len(data)} without an end-of-image marker: truncated")
    _check_room(found)
    pixels: Pixels = imagecodecs.jpeg8_decode(data)
    if not np.array_equal(pixels, imagecodecs.jpeg8_decode(data[: found.end] + FILLER + data[found.end :])):
        raise DamagedFile("its image data end before the image does: a part is missing")
    if header.channels == 4:
        return _from_cmyk(pixels), ("CMYK was converted to RGB without a colour profile",)
    return pixels, ()


def structure(data: bytes, to_the_end: bool = True) -> Structure:
    """Walk the segments (annex B), to the end or to the first scan. Reads the streams inside a TIFF too."""
    found, at = Structure(), 2
    if data[:2] != b"\xff\xd8":
        raise DamagedFile("JPEG data without a start-of-image marker")
    while at + 1 < len(data):
        if data[at] != 0xFF:
            raise DamagedFile(f"byte {at} is no marker: segments are damaged")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == EOI:
            found.end = at
            return found
        elif marker in STANDALONE:
            at += 2
        else:
            at = _segment(data, at, marker, found)
            if found.scans and not to_the_end:
                return found
    return found


def _segment(data: bytes, at: int, marker: int, found: Structure) -> int:
    """Note what the segment at byte ``at`` says; return where the next one begins."""
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    end = at + 2 + length
    if length < 2 or end > len(data):
        raise DamagedFile(f"segment {marker:#x} at byte {at} has {length} bytes and the file ends: truncated")
    body = data[at + 4 : end]
    if marker in FRAMES:
        _frame(body, marker, found)
    elif marker in (DQT, DHT):
        found.tables = True
    elif marker == APP1 and body.startswith(b"Exif\0\0"):
        found.orientation = ifd.orientation(body[6:])
    elif marker == SOS:
        found.scans += 1
        if found.scans > MAX_SCANS:
            raise DamagedFile(f"more than {MAX_SCANS} scans over one image")
        stop = MARKER.search(data, end)
        following = stop.end() - 2 if stop else len(data)
        found.coded_bytes += following - end
        return following
    return end


def _frame(body: bytes, marker: int, found: Structure) -> None:
    if found.frame:
        raise DamagedFile("it has two frames")
    if len(body) < 6 or len(body) != 6 + 3 * body[5]:
        raise DamagedFile("its frame header is cut short")
    found.frame, found.bits, found.components = marker, body[0], body[5]
    found.rows, found.columns = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")


def _check_room(found: Structure) -> None:
    """Each block of 8 x 8 pixels (each pixel, if lossless) takes at least one bit of Huffman-coded data."""
    side = 1 if found.frame == LOSSLESS else 8
    units = -(-found.rows // side) * -(-found.columns // side)
    if found.frame not in ARITHMETIC and units > 8 * found.coded_bytes:
        raise DamagedFile(
            f"{found.coded_bytes} bytes of image data cannot hold {found.columns} x {found.rows} pixels"
        )


def _from_cmyk(pixels: Pixels) -> Pixels:
    """RGB of the inverted CMYK that JPEG files hold: each ink times black."""
    ink, black = pixels[..., :3].astype(np.uint16), pixels[..., 3:].astype(np.uint16)
    return ((ink * black + 127) // 255).astype(np.uint8)
