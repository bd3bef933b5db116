"""EMD: the HDF5 files of Thermo Fisher Velox (``Data/Image``) and of Berkeley's EMD format 0.1 and 0.2."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from micrographia.errors import DamagedFile, UnsupportedFormat
from micrographia.micrographs.header import Header, Pixels, Sample

SIGNATURE = re.compile(rb"\x89HDF\r\n\x1a\n")
SAMPLES: dict[str, Sample] = {"u": "unsigned", "i": "signed", "f": "float"}
MAX_METADATA_BYTES = 4_000_000
MAX_GROUPS = 10_000
Metadata: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Picture:
    """One image of the file: its values, (rows, columns) or with further axes, and what is told of it."""

    dataset: Any
    metadata: Metadata
    """Velox: its JSON. Berkeley: ``{"axes": [{"pixel": ..., "units": ...}, ...]}``."""
    frames_last: bool
    """Velox keeps frames on the last axis, Berkeley on the first ones."""

    @property
    def rows_columns_frames(self) -> tuple[int, int, int]:
        """Sizes of the image and the number of its frames."""
        sizes = self.dataset.shape
        rows, columns = sizes[:2] if self.frames_last else sizes[-2:]
        return rows, columns, int(np.prod(sizes, dtype=np.int64)) // max(rows * columns, 1)


def inspect(data: bytes) -> Header:
    """Size and depth of the first image; further frames count as pages."""
    with _pictures(data) as pictures:
        picture = pictures[0]
        rows, columns, frames = picture.rows_columns_frames
        dtype = picture.dataset.dtype
        if dtype.kind not in SAMPLES:
            raise UnsupportedFormat(f"its values are of type {dtype}", "export them as TIFF")
        if min(rows, columns, frames) < 1:
            raise DamagedFile(f"its image claims {columns} x {rows} pixels")
        return Header(
            format="EMD",
            rows=rows,
            columns=columns,
            channels=1,
            bits=8 * dtype.itemsize,
            sample=SAMPLES[dtype.kind],
            pages=frames,
        )


def decode(data: bytes, header: Header) -> tuple[Pixels, tuple[str, ...]]:
    """The first frame of the first image."""
    with _pictures(data) as pictures:
        picture = pictures[0]
        further = picture.dataset.ndim - 2
        first = (..., *(0,) * further) if picture.frames_last else ((0,) * further)
        pixels = np.asarray(picture.dataset[first])
        notes = [f"the first of {header.pages} frames was taken"] if header.pages > 1 else []
        left = [str(other.metadata.get("BinaryResult", {}).get("Detector", "")) for other in pictures[1:]]
        if left:
            names = ", ".join(name or "unnamed" for name in left)
            notes.append(f"further images in the file were left out: {names}")
        return np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False)), tuple(notes)


def metadata(data: bytes) -> Metadata:
    """What is told of the first image."""
    with _pictures(data) as pictures:
        return pictures[0].metadata


@contextmanager
def _pictures(data: bytes) -> Iterator[list[Picture]]:
    """The images of the file, those of real numbers first, by name; there is at least one."""
    import h5py  # slow to load, and few files need it

    with h5py.File(io.BytesIO(data), "r") as file:
        found = list(_velox(file)) or list(_berkeley(file))
        found.sort(key=lambda picture: picture.dataset.dtype.kind not in SAMPLES)  # transforms are complex
        if not found:
            raise UnsupportedFormat(
                f"it is HDF5 with {', '.join(list(file)[:5]) or 'nothing'} and no image that is known",
                "export the image as TIFF",
            )
        yield found


def _velox(file: Any) -> Iterator[Picture]:
    group = file.get("Data/Image")
    for name in sorted(group) if hasattr(group, "keys") else ():
        entry = group[name]
        values = entry.get("Data") if hasattr(entry, "get") else None
        if getattr(values, "ndim", 0) >= 2:
            yield Picture(values, _json(entry.get("Metadata")), frames_last=True)


def _json(stored: Any) -> Metadata:
    """The JSON of the first frame, which ends at a zero byte; nothing where it cannot be read."""
    if stored is None or getattr(stored, "ndim", 0) < 1 or stored.shape[0] > MAX_METADATA_BYTES:
        return {}
    raw = np.asarray(stored[(slice(None), *(0,) * (stored.ndim - 1))]).tobytes()
    try:
        told = json.loads(raw.split(b"\0")[0])
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _berkeley(file: Any) -> Iterator[Picture]:
    """Groups that call themselves data, with ``data`` and its axes ``dim1`` ... (EMD 0.2 specification)."""
    groups: list[Any] = []

    def visit(_: str, entry: Any) -> bool | None:
        if hasattr(entry, "keys") and "emd_group_type" in entry.attrs:
            groups.append(entry)
        return True if len(groups) == MAX_GROUPS else None

    file.visititems(visit)
    for group in groups:
        values = group.get("data")
        if getattr(values, "ndim", 0) >= 2:
            axes = [_axis(group.get(f"dim{number}")) for number in range(1, values.ndim + 1)]
            yield Picture(values, {"axes": axes}, frames_last=False)


def _axis(stored: Any) -> dict[str, Any]:
    """Step and unit of one axis, whose places are listed one by one."""
    if getattr(stored, "ndim", 0) != 1 or stored.shape[0] < 2:
        return {}
    units = stored.attrs.get("units", "")
    words = units.decode("utf-8", "replace") if isinstance(units, bytes) else str(units)
    first, second = (float(place) for place in stored[:2])
    return {"pixel": second - first, "units": words.strip("[] ").replace("_", "")}
