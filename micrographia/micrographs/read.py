"""Image files to stored values: format told by content, sizes checked from the header, nothing repaired."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from micrographia.errors import DamagedFile, ImageTooLarge, UnreadableFile, UnsupportedFormat
from micrographia.micrographs.formats import bmp, emd, gatan, jpeg, mrc, png, ser, tiff
from micrographia.micrographs.header import Header, Pixels, upright
from micrographia.micrographs.limits import Limits, check_file_size, check_header

SIGNATURES: tuple[tuple[re.Pattern[bytes], ModuleType], ...] = (
    (png.SIGNATURE, png),
    (jpeg.SIGNATURE, jpeg),
    (tiff.SIGNATURE, tiff),
    (emd.SIGNATURE, emd),
    (ser.SIGNATURE, ser),
    (mrc.SIGNATURE, mrc),
    (gatan.SIGNATURE, gatan),
    (bmp.SIGNATURE, bmp),
)
SIGNATURE_BYTES = 256
"""The farthest, MRC's, ends at byte 216."""
FOREIGN = (
    (b"GIF8", "GIF"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"RIFF", "WebP or another RIFF"),
    (b"\0\0\0\x0cjP", "JPEG 2000"),
)
"""Formats that people have and we do not read, for the message."""
BROKEN = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,  # every error of imagecodecs
    SyntaxError,  # Pillow's word for a bad header
    TypeError,
    ValueError,  # tifffile's TiffFileError is one
    struct.error,
    zlib.error,
)
"""What imagecodecs, tifffile and Pillow raise on damaged content: seen by mutating files."""


@dataclass(frozen=True)
class Raster:
    """A decoded image. ``pixels`` are upright, (rows, columns) or (rows, columns, 3), in stored bit depth."""

    header: Header
    pixels: Pixels
    notes: tuple[str, ...] = ()
    """What had to be left out or assumed."""


def inspect(source: Path | bytes, limits: Limits | None = None, name: str = "") -> Header:
    """Format, sizes, depth and pages from the header; not a pixel is decoded.

    ``name`` is what messages call the file; by default a path's last part. Raises ``UnsupportedFormat``,
    ``DamagedFile`` or ``ImageTooLarge``.
    """
    with _named(source, name):
        return _inspect(_content(source, limits or Limits()), limits or Limits())


def decode(source: Path | bytes, limits: Limits | None = None, name: str = "") -> Raster:
    """The first image of the file with its bit depth kept. Raises as ``inspect`` does."""
    limits = limits or Limits()
    with _named(source, name):
        data = _content(source, limits)
        header = _inspect(data, limits)
        pixels, notes = _told_by_content(data).decode(data, header)
        if pixels.shape[:2] != (header.rows, header.columns):
            raise DamagedFile(
                f"decodes to {pixels.shape}, its header claims {header.rows} x {header.columns}"
            )
        return _finished(header, pixels, notes)


@contextmanager
def _named(source: Path | bytes, name: str) -> Iterator[None]:
    """Put the file's name before what is wrong with it, and turn the decoders' errors into ours."""
    name = name or (source.name if isinstance(source, Path) else "image")
    try:
        yield
    except UnreadableFile as error:
        remedy = error.remedy or "copy it again from where it was taken, or export it again"
        raise type(error)(f"{name}: {error.what}", remedy) from None
    except MemoryError:
        raise ImageTooLarge(
            f"{name}: there is not enough memory to decode it", "cut it into fields"
        ) from None
    except BROKEN as error:
        cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise DamagedFile(f"{name}: cannot be decoded ({cause})", "export it again") from error


def load(path: Path, limits: Limits) -> bytes:
    """The bytes of a file. Raises ``UnreadableFile`` where it is empty, too large or may not be read."""
    with _named(path, ""):
        return _content(path, limits)


def is_image(path: Path) -> bool:
    """Whether the first bytes are of a format that is read; False also where they cannot be had."""
    try:
        with path.open("rb") as file:
            head = file.read(SIGNATURE_BYTES)
    except OSError:
        return False
    return any(signature.match(head) for signature, _ in SIGNATURES)


def _content(source: Path | bytes, limits: Limits) -> bytes:
    try:
        size = source.stat().st_size if isinstance(source, Path) else len(source)
        check_file_size(size, limits)
        data = source.read_bytes() if isinstance(source, Path) else source
    except OSError as error:
        raise UnreadableFile(f"cannot be opened ({error.strerror})", "check that it may be read") from None
    if not data:
        raise DamagedFile("it is empty", "copy it again from where it was taken")
    return data


def _told_by_content(data: bytes) -> ModuleType:
    for signature, module in SIGNATURES:
        if signature.match(data):
            return module
    kind = next((kind for signature, kind in FOREIGN if data.startswith(signature)), None)
    what = (
        f"its content is {kind}" if kind else f"its first bytes, {data[:8].hex(' ')}, are of no image format"
    )
    raise UnsupportedFormat(
        what, "PNG, JPEG, BMP, TIFF, DM3, DM4, EMD, SER and MRC are read: export it as TIFF"
    )


def _inspect(data: bytes, limits: Limits) -> Header:
    header: Header = _told_by_content(data).inspect(data)
    check_header(header, limits)
    return header


def _finished(header: Header, pixels: Pixels, notes: tuple[str, ...]) -> Raster:
    """What is done alike for every format: pages, alpha, values that are no numbers, orientation."""
    said = list(notes)
    if header.format == "TIFF" and header.pages > 1:
        said.append(f"the first of {header.pages} pages was taken")
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 4):
        pixels, note = _without_alpha(pixels)
        said.append(note)
    if pixels.dtype.kind == "f":
        pixels, n_bad = _finite(pixels)
        if n_bad:
            said.append(f"{n_bad} values that are no finite numbers were set to the smallest or largest one")
    if header.orientation != 1:
        pixels = upright(pixels, header.orientation)
        said.append(f"turned upright from orientation {header.orientation}")
    return Raster(header, pixels, tuple(said))


def _without_alpha(pixels: Pixels) -> tuple[Pixels, str]:
    """Colour over black where it is transparent, as a viewer with a dark background shows it."""
    colour, alpha = pixels[..., :-1], pixels[..., -1:]
    opaque = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    clear = 1 - np.count_nonzero(alpha >= opaque) / alpha.size
    note = "its opaque alpha channel was left out"
    if clear:
        note = f"laid over black: {clear:.1%} of it is transparent"
        colour = np.ascontiguousarray(colour)
        for row, weight in zip(colour, alpha, strict=True):  # by rows, for a float copy of all takes memory
            row[...] = row * np.clip(weight / opaque, 0, 1)
    return np.ascontiguousarray(colour[..., 0] if colour.shape[-1] == 1 else colour), note


def _finite(pixels: Pixels) -> tuple[Pixels, int]:
    """Not-a-number and minus infinity become the smallest finite value, plus infinity the largest."""
    finite = np.isfinite(pixels)
    n_bad = pixels.size - int(np.count_nonzero(finite))
    if n_bad == pixels.size:
        raise DamagedFile("none of its values is a finite number")
    if not n_bad:
        return pixels, 0
    low, high = pixels[finite].min(), pixels[finite].max()
    return np.nan_to_num(pixels, nan=low, posinf=high, neginf=low), n_bad
