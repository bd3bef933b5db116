"""Gatan DigitalMicrograph 3 and 4 (.dm3, .dm4): a tree of tags, in which images are branches.

The structure is big-endian, the values are as the header says; version 4 counts in 64 bits and gives each
tag its length (Potapov, "DigitalMicrograph file format", public description of version 3).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from micrographia.errors import DamagedFile, NoImage, UnsupportedFormat
from micrographia.micrographs.header import Header, Pixels, Sample

SIGNATURE = re.compile(rb"\0\0\0[\x03\x04]")
NUMBERS = {
    2: "i2",
    3: "i4",
    4: "u2",
    5: "u4",
    6: "f4",
    7: "f8",
    8: "u1",
    9: "i1",
    10: "u1",
    11: "i8",
    12: "u8",
}
"""By type of a tag's value."""
STRUCT, STRING, ARRAY = 15, 18, 20
GROUP, VALUE = 20, 21
MAX_DEPTH, MAX_TAGS, MAX_TYPE = 64, 500_000, 4096
LONGEST_TEXT = 100_000
"""Bytes of one string."""
PIXELS = {
    1: "i2",
    2: "f4",
    6: "u1",
    7: "i4",
    9: "i1",
    10: "u2",
    11: "u4",
    12: "f8",
    14: "u1",
    39: "i8",
    40: "u8",
}
"""By DataType of an image; 8 and 23 are colour, 3, 5 and 13 complex."""
COLOUR, COMPLEX = (8, 23), (3, 5, 13)
SAMPLES: dict[str, Sample] = {"u": "unsigned", "i": "signed", "f": "float"}


@dataclass(frozen=True)
class Values:
    """An array that was not read: where it lies and of what it is."""

    offset: int
    dtype: str
    count: int


Tag: TypeAlias = "Tree | float | int | str | tuple[float, ...] | Values"
Tree: TypeAlias = Mapping[str, Tag]


def tree(data: bytes) -> Tree:
    """All tags by name, those without one by number. Raises ``DamagedFile`` where they make no sense."""
    return _Reader(data).read()


def images(tags: Tree) -> list[Tree]:
    """The images in the file, thumbnails left out."""
    thumbnails = {branch(entry).get("ImageIndex") for entry in branch(tags.get("Thumbnails")).values()}
    listed = branch(tags.get("ImageList"))
    return [branch(entry) for number, entry in listed.items() if int(number) not in thumbnails]


def branch(tag: Tag | None, *path: str) -> Tree:
    """The tags below ``path``; none where there is no such branch."""
    for name in path:
        tag = tag.get(name) if isinstance(tag, Mapping) else None
    return tag if isinstance(tag, Mapping) else {}


def words(data: bytes, tag: Tag | None) -> str:
    """A tag as text: DigitalMicrograph keeps strings as arrays of 16-bit characters. "" for what is none."""
    if isinstance(tag, Values) and tag.dtype[1:] == "u2" and 2 * tag.count <= LONGEST_TEXT:
        content = data[tag.offset : tag.offset + 2 * tag.count]
        return content.decode("utf-16-le" if tag.dtype[0] == "<" else "utf-16-be", "replace").strip("\0 ")
    return "" if tag is None or isinstance(tag, (Values, Mapping)) else str(tag).strip("\0 ")


def picture(tags: Tree) -> Tree:
    """The first image of two dimensions or more. Raises ``NoImage`` where there is none."""
    found = images(tags)
    for image in found:
        if len(_sizes(image)) >= 2 and min(_sizes(image)[:2]) > 1:
            return image
    if not found:
        raise DamagedFile("its tags list no image and no spectrum")
    sizes = " and ".join(" x ".join(map(str, _sizes(image))) for image in found)
    raise NoImage(
        f"it holds a spectrum or profile of {sizes} values, and no image",
        "export the image that belongs to it",
    )


def inspect(data: bytes) -> Header:
    """Size and depth of the first image; further planes count as pages."""
    image = picture(tree(data))
    sizes = _sizes(image)
    dtype = _dtype(image)
    return Header(
        format="DM",
        rows=sizes[1],
        columns=sizes[0],
        channels=4 if dtype.shape else 1,
        bits=8 * dtype.base.itemsize,
        sample=SAMPLES[dtype.base.kind],
        pages=int(np.prod(sizes[2:], dtype=np.int64)),
    )


def decode(data: bytes, header: Header) -> tuple[Pixels, tuple[str, ...]]:
    """The first plane of the first image, in native byte order."""
    tags = tree(data)
    image = picture(tags)
    place = branch(image.get("ImageData")).get("Data")
    dtype = _dtype(image)
    if not isinstance(place, Values):
        raise DamagedFile("its image has no pixels")
    n_pixels = header.rows * header.columns
    if place.offset + n_pixels * dtype.itemsize > len(data):
        raise DamagedFile(f"its pixels reach beyond the end, byte {len(data)}: truncated")
    if place.count * np.dtype(place.dtype).itemsize < n_pixels * dtype.itemsize:
        raise DamagedFile(f"its pixels are {place.count} values, {header.columns} x {header.rows} need more")
    plane = np.frombuffer(data, dtype, n_pixels, place.offset).reshape(
        header.rows, header.columns, *dtype.shape
    )
    pixels = np.ascontiguousarray(plane.astype(dtype.base.newbyteorder("="), copy=False))
    others = len(images(tags)) - 1
    notes = [f"the first of {header.pages} planes was taken"] if header.pages > 1 else []
    notes += [f"{others} further images or spectra in the file were left out"] if others else []
    return (pixels[..., 2::-1] if dtype.shape else pixels), tuple(notes)


def _sizes(image: Tree) -> list[int]:
    """Columns, rows, planes ..."""
    sizes = [size for size in branch(image, "ImageData", "Dimensions").values() if isinstance(size, int)]
    if any(size < 1 for size in sizes):
        raise DamagedFile(f"its image claims {' x '.join(map(str, sizes))} pixels")
    return sizes


def _dtype(image: Tree) -> np.dtype[np.generic]:
    kind = branch(image.get("ImageData")).get("DataType")
    place = branch(image.get("ImageData")).get("Data")
    order = place.dtype[0] if isinstance(place, Values) else "<"
    if kind in COLOUR:
        return np.dtype(("u1", (4,)))
    if kind in COMPLEX:
        raise UnsupportedFormat("its values are complex, as of a Fourier transform", "export the modulus")
    if not isinstance(kind, int) or kind not in PIXELS:
        raise UnsupportedFormat(f"its image is of Gatan's data type {kind}", "export it as TIFF")
    return np.dtype(order + PIXELS[kind])


class _Reader:
    """Walks the tree once; arrays are noted, not read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.tags = data, 0, 0
        (version,) = self._take(">i")
        self.count = ">q" if version == 4 else ">i"
        self._take(self.count)  # the length of what follows, which some writers leave wrong
        (little_endian,) = self._take(">i")
        self.order = "<" if little_endian else ">"
        self.has_lengths = version == 4

    def read(self) -> Tree:
        """The whole tree."""
        return self._group(0)

    def _take(self, code: str) -> tuple[int, ...]:
        try:
            numbers: tuple[int, ...] = struct.unpack_from(code, self.data, self.at)
        except struct.error:
            raise DamagedFile(f"it ends at byte {len(self.data)}, within its tags: truncated") from None
        self.at += struct.calcsize(code)
        return numbers

    def _skip(self, n_bytes: int) -> bytes:
        if n_bytes < 0 or self.at + n_bytes > len(self.data):
            raise DamagedFile(
                f"a tag at byte {self.at} claims {n_bytes} bytes, more than there are: truncated"
            )
        self.at += n_bytes
        return self.data[self.at - n_bytes : self.at] if n_bytes <= LONGEST_TEXT else b""

    def _group(self, depth: int) -> Tree:
        if depth > MAX_DEPTH:
            raise DamagedFile(f"its tags are nested more than {MAX_DEPTH} deep")
        self._take(">bb")  # sorted, open: how the tree is shown
        (n_tags,) = self._take(self.count)
        self.tags += n_tags
        if n_tags < 0 or self.tags > MAX_TAGS:
            raise DamagedFile(f"a group at byte {self.at} claims {n_tags} tags")
        found: dict[str, Tag] = {}
        for number in range(n_tags):
            kind, n_name = self._take(">bH")
            name = self._skip(n_name).decode("latin-1") or str(number)
            if self.has_lengths:
                self._take(">q")
            if kind == GROUP:
                found[name] = self._group(depth + 1)
            elif kind == VALUE:
                found[name] = self._value()
            else:
                raise DamagedFile(f"a tag at byte {self.at} is of kind {kind}, which there is not")
        return found

    def _value(self) -> Tag:
        if self._skip(4) != b"%%%%":
            raise DamagedFile(f"a tag at byte {self.at} does not begin as it should")
        (n_type,) = self._take(self.count)
        if not 0 < n_type <= MAX_TYPE:
            raise DamagedFile(f"a tag at byte {self.at} describes its type in {n_type} numbers")
        kind = self._take(f">{n_type}{self.count[1]}")
        if kind[0] in NUMBERS and n_type == 1:
            return self._numbers([kind[0]])[0]
        if kind[0] == STRUCT and n_type >= 3:
            return tuple(self._numbers(list(kind[4::2])))
        if kind[0] == STRING and n_type == 2:
            return self._skip(2 * kind[1]).decode(
                "utf-16-le" if self.order == "<" else "utf-16-be", "replace"
            )
        if kind[0] == ARRAY and n_type >= 3:
            return self._array(list(kind[5:-1:2]) if kind[1] == STRUCT else [kind[1]], kind[-1])
        raise DamagedFile(f"a tag at byte {self.at} is of type {kind[0]}, which there is not")

    def _numbers(self, kinds: list[int]) -> list[float]:
        if any(kind not in NUMBERS for kind in kinds):
            raise DamagedFile(f"a tag at byte {self.at} holds a type that there is not")
        dtypes = [np.dtype(self.order + NUMBERS[kind]) for kind in kinds]
        return [np.frombuffer(self._skip(dtype.itemsize), dtype)[0].item() for dtype in dtypes]

    def _array(self, kinds: list[int], count: int) -> Values:
        """Of numbers, or of structs with a field of each of ``kinds``; of these only the first is told."""
        if not kinds or any(kind not in NUMBERS for kind in kinds) or count < 0:
            raise DamagedFile(f"an array at byte {self.at} holds a type that there is not")
        start = self.at
        self._skip(count * sum(np.dtype(NUMBERS[kind]).itemsize for kind in kinds))
        return Values(start, self.order + NUMBERS[kinds[0]], count)
