"""TIFF image file directories, walked without reading values: also how EXIF keeps its orientation."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from micrographia.errors import DamagedFile, ImageTooLarge

ORIENTATION = 274
SHORT = 3
LONG, LONG8 = 4, 16
UNSIGNED = (SHORT, LONG, LONG8)
BYTES_PER_VALUE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
BYTES_PER_VALUE |= {LONG8: 8, 17: 8, 18: 8}
"""By type (TIFF 6.0, section 2, and BigTIFF)."""
MAX_ENTRIES = 4096
MAX_DIRECTORIES = 100_000


@dataclass(frozen=True)
class Entry:
    """One tag of a directory. ``offset`` is where its value field lies in the data."""

    tag: int
    type: int
    count: int
    offset: int


@dataclass(frozen=True)
class Layout:
    """How numbers are written: ``struct`` codes of byte order, entry count, entry head, and offsets."""

    order: str
    count: str
    head: str
    offset: str
    first: int
    """Byte at which the offset of the first directory stands."""

    @property
    def entry_bytes(self) -> int:
        """Length of one entry: its head and its value field."""
        return struct.calcsize(self.order + self.head + self.offset)

    def unpack(self, code: str, data: bytes, at: int) -> tuple[int, ...]:
        """Numbers of ``code`` at byte ``at``; ``DamagedFile`` where the data ends before them."""
        try:
            return struct.unpack_from(self.order + code, data, at)
        except struct.error:
            raise DamagedFile(f"a directory at byte {at} lies beyond the end, {len(data)} bytes") from None


def layout(data: bytes) -> Layout:
    """Byte order and width of offsets: classic TIFF (version 42) or BigTIFF (43)."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        raise DamagedFile("the header of its directories is cut short or of no byte order")
    (version,) = struct.unpack_from(order + "H", data, 2)
    if version == 43:
        return Layout(order, "Q", "HHQ", "Q", first=8)
    if version == 42:
        return Layout(order, "H", "HHI", "I", first=4)
    raise DamagedFile(f"TIFF version {version} is not 42 or 43")


def directories(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the entries of each directory begin, and how many they are.

    A chain that comes back to where it was is damaged, not endless.
    """
    form = layout(data)
    (at,) = form.unpack(form.offset, data, form.first)
    seen: set[int] = set()
    while at:
        if at in seen:
            raise DamagedFile(f"the chain of pages comes back to byte {at}")
        if len(seen) == MAX_DIRECTORIES:
            raise ImageTooLarge(f"it has more than {MAX_DIRECTORIES} pages", "export its first page alone")
        seen.add(at)
        (n_entries,) = form.unpack(form.count, data, at)
        if not 0 < n_entries <= MAX_ENTRIES:
            raise DamagedFile(f"the directory at byte {at} claims {n_entries} entries")
        start = at + struct.calcsize(form.order + form.count)
        (at,) = form.unpack(form.offset, data, start + n_entries * form.entry_bytes)
        yield start, n_entries


def entries(data: bytes, start: int, n_entries: int) -> list[Entry]:
    """The tags of the directory whose entries begin at byte ``start``."""
    form = layout(data)
    places = range(start, start + n_entries * form.entry_bytes, form.entry_bytes)
    return [_entry(form, data, at) for at in places]


def first_entries(data: bytes) -> list[Entry]:
    """The tags of the first directory."""
    return entries(data, *next(directories(data), (0, 0)))


def end_of_values(data: bytes, entry: Entry) -> int:
    """The byte behind the values of a tag; 0 for a type that is unknown, which readers pass over."""
    n_bytes = entry.count * BYTES_PER_VALUE.get(entry.type, 0)
    return _place(data, entry, n_bytes) + n_bytes if n_bytes else 0


def values(data: bytes, entry: Entry) -> NDArray[np.uint64]:
    """Whole numbers that the tag holds; ``DamagedFile`` where they are of another type or lie outside."""
    if entry.type not in UNSIGNED:
        raise DamagedFile(f"tag {entry.tag} is of type {entry.type}, not of a whole number")
    dtype = np.dtype(f"{layout(data).order}u{BYTES_PER_VALUE[entry.type]}")
    at = _place(data, entry, entry.count * dtype.itemsize)
    if at + entry.count * dtype.itemsize > len(data):
        raise DamagedFile(f"the values of tag {entry.tag} at byte {at} lie beyond the end, {len(data)} bytes")
    return np.frombuffer(data, dtype, entry.count, at).astype(np.uint64)


LONGEST_TAG = 4_000_000


def contents(data: bytes) -> dict[int, bytes]:
    """The raw bytes of each tag of the first directory, without those beyond the end or of many bytes."""
    found: dict[int, bytes] = {}
    for entry in first_entries(data):
        n_bytes = entry.count * BYTES_PER_VALUE.get(entry.type, 0)
        if 0 < n_bytes <= LONGEST_TAG and end_of_values(data, entry) <= len(data):
            at = _place(data, entry, n_bytes)
            found[entry.tag] = data[at : at + n_bytes]
    return found


def ratio(data: bytes, tag: int) -> float | None:
    """The first rational number that the tag holds; None where there is none."""
    raw = contents(data).get(tag, b"")
    if len(raw) < 8:
        return None
    over, under = struct.unpack_from(layout(data).order + "II", raw)
    return over / under if under else None


def _place(data: bytes, entry: Entry, n_bytes: int) -> int:
    """Values stand in the value field where they fit, otherwise where it points."""
    form = layout(data)
    if n_bytes <= struct.calcsize(form.order + form.offset):
        return entry.offset
    return form.unpack(form.offset, data, entry.offset)[0]


def _entry(form: Layout, data: bytes, at: int) -> Entry:
    tag, kind, count = form.unpack(form.head, data, at)
    return Entry(tag, kind, count, at + struct.calcsize(form.order + form.head))


def orientation(data: bytes) -> int:
    """The orientation code of the first directory; 1 (upright) where there is none or it makes no sense."""
    try:
        form = layout(data)
        for entry in first_entries(data):
            if entry.tag == ORIENTATION and entry.type == SHORT:
                (code,) = form.unpack("H", data, entry.offset)
                return code if 1 <= code <= 8 else 1
    except (DamagedFile, ImageTooLarge):  # damaged EXIF does not damage the image
        return 1
    return 1
