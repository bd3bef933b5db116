"""TIFF image file directories, walked without reading values: also how EXIF keeps its orientation."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from micrographia.errors import DamagedFile, ImageTooLarge

ORIENTATION = 274
SHORT = 3
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


def first_entries(data: bytes) -> list[Entry]:
    """The tags of the first directory."""
    form = layout(data)
    start, n_entries = next(directories(data), (0, 0))
    places = range(start, start + n_entries * form.entry_bytes, form.entry_bytes)
    return [_entry(form, data, at) for at in places]


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
