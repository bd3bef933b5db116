"""MRC and CCP4 maps (.mrc, .map, .st): 1024 bytes of header, then planes (CCP-EM, MRC2014 format)."""

from __future__ import annotations

import re
import struct

import numpy as np

from micrographia.errors import DamagedFile, UnsupportedFormat
from micrographia.micrographs.header import Header, Pixels, Sample

HEADER_BYTES = 1024
SIGNATURE = re.compile(rb".{208}MAP[ \0]|.{212}(?:D[AD]|\x11\x11)\0\0", re.DOTALL)
"""MRC2014 says MAP; older files are known by the machine stamp behind it."""
STAMP = 212
DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
"""By mode. 3 and 4 are complex."""
SAMPLES: dict[str, Sample] = {"u": "unsigned", "i": "signed", "f": "float"}


def byte_order(data: bytes) -> str:
    """As the machine stamp says: 0x44 little-endian, 0x11 big-endian."""
    return ">" if data[STAMP : STAMP + 1] == b"\x11" else "<"


def cell(data: bytes) -> tuple[tuple[int, int], tuple[float, float]]:
    """Grid intervals along columns and rows (mx, my), and the Å that they span (cella x, y)."""
    mx, my = struct.unpack_from(byte_order(data) + "2i", data, 28)
    x, y = struct.unpack_from(byte_order(data) + "2f", data, 40)
    return (mx, my), (x, y)


def inspect(data: bytes) -> Header:
    """Size and depth of a plane; further planes count as pages."""
    if len(data) < HEADER_BYTES:
        raise DamagedFile(f"it ends at byte {len(data)}, within its header: truncated")
    columns, rows, planes, mode = struct.unpack_from(byte_order(data) + "4i", data, 0)
    if mode not in DTYPES:
        raise UnsupportedFormat(f"MRC mode {mode}", "save it in mode 0, 1, 2, 6 or 12")
    if min(columns, rows, planes) < 1:
        raise DamagedFile(f"its header claims {columns} x {rows} x {planes} pixels")
    dtype = np.dtype(DTYPES[mode])
    return Header("MRC", rows, columns, 1, 8 * dtype.itemsize, SAMPLES[dtype.kind], planes)


def decode(data: bytes, header: Header) -> tuple[Pixels, tuple[str, ...]]:
    """The first plane, with the first row stored at the bottom turned to the top."""
    (extended,) = struct.unpack_from(byte_order(data) + "i", data, 92)
    mode = struct.unpack_from(byte_order(data) + "i", data, 12)[0]
    dtype = np.dtype(byte_order(data) + DTYPES[mode])
    start, n_pixels = HEADER_BYTES + extended, header.rows * header.columns
    if extended < 0 or start + n_pixels * dtype.itemsize > len(data):
        raise DamagedFile(f"its pixels reach beyond the end, byte {len(data)}: truncated")
    plane = np.frombuffer(data, dtype, n_pixels, start).reshape(header.rows, header.columns)
    notes = (f"the first of {header.pages} planes was taken",) if header.pages > 1 else ()
    return np.ascontiguousarray(plane[::-1].astype(dtype.newbyteorder("="))), notes
