"""Who reads which file: readers are asked in turn, and whoever knows the file answers."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from tifffile import TiffFile

from micrographia.micrographs.formats import ifd
from micrographia.micrographs.header import Header
from micrographia.micrographs.vendors import (
    camera,
    fei,
    gatan,
    hitachi,
    jeol,
    mrc,
    software,
    tescan,
    tia,
    velox,
    zeiss,
)
from micrographia.micrographs.vendors.tags import HeaderReading

IMAGE_DESCRIPTION, X_RESOLUTION, Y_RESOLUTION = 270, 282, 283
SIS_PAGES = 4
"""Olympus writes its tag on the first page or on a later one (hyperspy/hyperspy #2511)."""
LONGEST_SIDECAR = 2_000_000
NOTHING = HeaderReading("", missing=("pixel size: the format keeps none, and no maker's header is there",))
PRINT_ONLY = "pixel size: no maker's header is there; XResolution is a print size, not a scale"


def read_header(data: bytes, header: Header) -> HeaderReading:
    """What the header says of how the image was taken; ``header`` is of the same bytes ``data``."""
    if header.format == "DM":
        return gatan.read(data)
    if header.format == "EMD":
        return velox.read(data, header.columns)
    if header.format == "SER":
        return tia.read(data)
    if header.format == "MRC":
        return mrc.read(data)
    return _tiff(data, header) if header.format == "TIFF" else NOTHING


def _tiff(data: bytes, header: Header) -> HeaderReading:
    raw = ifd.contents(data)
    rows, columns = header.rows, header.columns
    for tag in fei.TAGS:
        if tag in raw:
            return fei.read(_text(raw[tag]), rows, columns)
    if zeiss.TAG in raw:
        return zeiss.read(_text(raw[zeiss.TAG]), rows, columns)
    if tescan.TAG in raw:
        return tescan.read(raw[tescan.TAG].decode("latin-1"), rows)
    if camera.TVIPS in raw:
        return camera.read_tvips(_by_tifffile(data, camera.TVIPS))
    if values := _by_tifffile(data, camera.OLYMPUS):
        return camera.read_olympus(values)
    description = _text(raw.get(IMAGE_DESCRIPTION, b""))
    if software.is_ome(description):
        return software.read_ome(description, columns)
    if software.is_imagej(description):
        return software.read_imagej(
            description, [ifd.ratio(data, tag) for tag in (X_RESOLUTION, Y_RESOLUTION)]
        )
    return HeaderReading("", missing=(PRINT_ONLY,) if X_RESOLUTION in raw else NOTHING.missing)


def _by_tifffile(data: bytes, tag: int) -> Mapping[str, Any]:
    """The tag as tifffile understands it, from the first page that has it; nothing where none does."""
    with TiffFile(io.BytesIO(data)) as tiff:
        for number in range(min(len(tiff.pages), SIS_PAGES)):
            tags = getattr(tiff.pages[number], "tags", {})
            value = tags[tag].value if tag in tags else None
            if isinstance(value, dict):
                return value
    return {}


def _text(raw: bytes) -> str:
    """UTF-8 where it is that, else Latin-1, in which all bytes are letters."""
    raw = raw.rstrip(b"\0")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def sidecar_names(name: str) -> tuple[str, ...]:
    """Names that a text file beside the image ``name`` may have, in small letters."""
    path = PurePath(name.lower())
    series = re.sub(r"_\d+$", "", path.stem)
    return (
        f"{path.stem}.txt",
        f"{path.stem}.hdr",
        f"{path.stem}-{path.suffix.lstrip('.')}.hdr",
        f"{path.name}.txt",
        *((f"{series}.emi",) if path.suffix == ".ser" else ()),
    )


SIDECARS = (
    (hitachi.SIGNATURE, hitachi.read),
    (jeol.SIGNATURE, jeol.read),
    (tescan.SIDECAR, tescan.read_sidecar),
    (tia.SIGNATURE, tia.read_emi),
)


def is_sidecar(raw: bytes) -> bool:
    """Whether it is a text file that a maker's instrument wrote."""
    text = _sidecar_text(raw[:LONGEST_SIDECAR])
    return any(signature.search(text) for signature, _ in SIDECARS)


def read_sidecar(raw: bytes, rows: int, columns: int) -> HeaderReading:
    """What the text file beside an image of ``rows`` x ``columns`` pixels says."""
    text = _sidecar_text(raw[:LONGEST_SIDECAR])
    for signature, read in SIDECARS:
        if signature.search(text):
            return read(text, rows, columns)
    return HeaderReading("", missing=("header: the text file beside it is of no maker that is known",))


def _sidecar_text(raw: bytes) -> str:
    """By its byte order mark; lines end in one way."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = raw.decode("utf-16", "replace")
    else:
        text = _text(raw.removeprefix(b"\xef\xbb\xbf"))
    return text.replace("\r\n", "\n").replace("\r", "\n")
