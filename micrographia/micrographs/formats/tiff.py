"""TIFF (revision 6.0, and BigTIFF): directories and strips are checked, tifffile decodes the first page."""

from __future__ import annotations

import io
import logging
import math
import re
from typing import Any

import numpy as np
from tifffile import TiffFile, TiffPage

from micrographia.errors import DamagedFile, ImageTooLarge, UnsupportedFormat
from micrographia.micrographs.formats import ifd, jpeg
from micrographia.micrographs.header import Header, Pixels, Sample

SIGNATURE = re.compile(rb"II[*+]\0|MM\0[*+]")
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR = range(7)
PLAIN, JPEG = 1, 7
COMPRESSIONS = {PLAIN, 2, 3, 4, 5, JPEG, 8, 32773, 32946, 50000}
"""None, CCITT (three kinds), LZW, JPEG, deflate (two numbers), PackBits, Zstandard."""
SAMPLES: dict[int, Sample] = {1: "unsigned", 2: "signed", 3: "float"}
SEGMENT_OFFSETS, SEGMENT_BYTES = (273, 324), (279, 325)
"""StripOffsets and TileOffsets; StripByteCounts and TileByteCounts."""
MAX_SEGMENTS = 2_000_000
"""A 20,000 x 20,000 image in the smallest tiles, 16 x 16, has 1.6 million."""
MAX_TILE_PIXELS = 4096 * 4096
ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA = 1, 2

# tifffile reports oddities of vendor tags to its logger; without a handler they would reach stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def inspect(data: bytes) -> Header:
    """The header of the first page, and how many pages there are."""
    _check_counts(ifd.first_entries(data))
    pages = sum(1 for _ in ifd.directories(data))
    with TiffFile(io.BytesIO(data)) as tiff:
        page = _first_page(tiff)
        _check_supported(page)
        return Header(
            format="TIFF",
            rows=page.imagelength,
            columns=page.imagewidth,
            channels=page.samplesperpixel,
            bits=page.bitspersample,
            sample=SAMPLES[page.sampleformat],
            pages=pages,
            orientation=ifd.orientation(data),
        )


def decode(data: bytes, header: Header) -> tuple[Pixels, tuple[str, ...]]:
    """Values as stored, black below white; a palette is expanded, 1 to 7 bits spread over 0..255."""
    for start, n_entries in ifd.directories(data):
        _check_inside(data, ifd.entries(data, start, n_entries))
    with TiffFile(io.BytesIO(data)) as tiff:
        page = _first_page(tiff)
        _check_segments(page, data)
        planes: Pixels = page.asarray(squeeze=False, maxworkers=1)[:, 0]
        pixels = np.moveaxis(planes[..., 0], 0, -1) if planes.shape[0] > 1 else planes[0]
        pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        return _meaning(pixels, page, header)


def _first_page(tiff: TiffFile) -> Any:
    page = tiff.pages.first
    if not isinstance(page, TiffPage):
        raise DamagedFile("it has no page")
    return page


def _check_supported(page: Any) -> None:
    kind = f"{page.samplesperpixel} x {page.bitspersample} bit, sample format {page.sampleformat}"
    if page.compression not in COMPRESSIONS:
        raise UnsupportedFormat(f"TIFF compression {int(page.compression)}", "save it with LZW or deflate")
    if page.sampleformat not in SAMPLES or page.dtype is None or not isinstance(page.bitspersample, int):
        raise UnsupportedFormat(f"TIFF values of {kind}", "save it as 8 or 16-bit grey")
    if not page.imagelength or not page.imagewidth:
        raise DamagedFile(f"its first page claims {page.imagewidth} x {page.imagelength} pixels")
    if page.imagedepth != 1:
        raise UnsupportedFormat(f"a TIFF volume {page.imagedepth} deep", "export one plane")
    if page.is_subsampled and page.compression != JPEG:
        raise UnsupportedFormat("TIFF with subsampled colour outside of JPEG", "save it as RGB")
    colours = {BLACK_IS_ZERO: (1, 2, 3), WHITE_IS_ZERO: (1, 2), MASK: (1,), RGB: (3, 4), YCBCR: (3,)}
    colours |= {PALETTE: (1,)} if page.bitspersample <= 8 else {}
    colours |= {CMYK: (4,)} if page.bitspersample == 8 else {}
    if page.samplesperpixel not in colours.get(page.photometric, ()):
        raise UnsupportedFormat(
            f"TIFF photometric {int(page.photometric)} with {kind}", "save it as grey or RGB"
        )


def _check_counts(entries: list[ifd.Entry]) -> None:
    for entry in entries:
        if entry.tag in (*SEGMENT_OFFSETS, *SEGMENT_BYTES) and entry.count > MAX_SEGMENTS:
            raise ImageTooLarge(
                f"tag {entry.tag} claims {entry.count} strips or tiles", "save it in larger ones"
            )


def _check_inside(data: bytes, entries: list[ifd.Entry]) -> None:
    """Values and pixels of any page, taken or not, end within the file; else it is truncated."""
    _check_counts(entries)
    end = max((ifd.end_of_values(data, entry) for entry in entries), default=0)
    offsets = [ifd.values(data, entry) for entry in entries if entry.tag in SEGMENT_OFFSETS]
    sizes = [ifd.values(data, entry) for entry in entries if entry.tag in SEGMENT_BYTES]
    if offsets and sizes and len(offsets[0]) == len(sizes[0]) > 0:
        end = max(end, *(int(offset) + int(size) for offset, size in zip(offsets[0], sizes[0], strict=True)))
    if end > len(data):
        raise DamagedFile(f"one of its pages reaches to byte {end}, the file has {len(data)}: truncated")


def _check_segments(page: Any, data: bytes) -> None:
    """Every strip or tile must lie in the file with at least the bytes that its rows need."""
    rows, columns = page.imagelength, page.imagewidth
    height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, columns)
    if not height or not width:
        raise DamagedFile(f"its strips or tiles are {width} x {height} pixels")
    if page.is_tiled and height * width > max(MAX_TILE_PIXELS, 4 * rows * columns):
        raise DamagedFile(f"its tiles, {width} x {height}, are far larger than the image")
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    expected = math.ceil(rows / height) * math.ceil(columns / width) * planes
    # tifffile joins strips that follow each other without a gap into one
    found = len(page.dataoffsets)
    if found != len(page.databytecounts) or (found != expected and not page.is_contiguous):
        raise DamagedFile(f"{columns} x {rows} pixels need {expected} strips or tiles, it lists {found}")
    for offset, n_bytes in zip(page.dataoffsets, page.databytecounts, strict=True):
        if not offset or not n_bytes or offset + n_bytes > len(data):
            raise DamagedFile(f"{n_bytes} bytes of pixels at byte {offset} of {len(data)}: truncated")
        if page.compression == JPEG:
            _check_jpeg(
                data[offset : offset + n_bytes], min(height, rows), width, page.jpegtables is not None
            )
    samples = page.samplesperpixel if planes == 1 else 1
    row_bytes = (min(width, columns) * samples * page.bitspersample + 7) // 8
    if page.compression == PLAIN and sum(page.databytecounts) < row_bytes * rows * planes:
        raise DamagedFile(f"{sum(page.databytecounts)} bytes of pixels, {columns} x {rows} need more")


def _check_jpeg(stream: bytes, rows: int, columns: int, tables_apart: bool) -> None:
    """The stream's own frame decides what is decoded, so it must be that of the strip or tile."""
    found = jpeg.structure(stream)
    if found.rows > rows or found.columns > columns:
        raise DamagedFile(
            f"a {columns} x {rows} strip or tile holds a JPEG of {found.columns} x {found.rows}"
        )
    if not found.end or not found.scans or not (found.tables or tables_apart):
        raise DamagedFile("a strip or tile holds a JPEG without its end, scan or tables: truncated")


def _meaning(pixels: Pixels, page: Any, header: Header) -> tuple[Pixels, tuple[str, ...]]:
    """Give values the meaning that the photometric tag states."""
    if page.photometric == PALETTE:
        return _coloured(pixels, page), ("its palette was expanded to RGB",)
    if header.sample == "unsigned" and header.bits < 8:
        pixels = (pixels.astype(np.uint16) * 255 // (2**header.bits - 1)).astype(np.uint8)
    if page.photometric == CMYK:
        return _from_cmyk(pixels), ("CMYK was converted to RGB without a colour profile",)
    if page.photometric == WHITE_IS_ZERO:
        return _inverted(pixels, header), ("stored with white as zero: inverted",)
    if page.photometric == BLACK_IS_ZERO and header.channels == 3:
        return pixels, ("three channels of no stated colour were taken as red, green and blue",)
    if header.channels in (2, 4) and UNASSOCIATED_ALPHA not in page.extrasamples:
        kind = "premultiplied alpha" if ASSOCIATED_ALPHA in page.extrasamples else "extra"
        left = pixels[..., :-1]
        return left[..., 0] if header.channels == 2 else left, (f"its {kind} channel was left out",)
    return pixels, ()


def _coloured(pixels: Pixels, page: Any) -> Pixels:
    """Palette entries of 16 bits, of which writers often fill only the low 8."""
    if page.colormap is None or page.colormap.shape[-1] <= int(pixels.max()):
        raise DamagedFile("its palette is missing or shorter than its pixels ask for")
    palette = page.colormap if page.colormap.max() < 256 else page.colormap >> 8
    return np.ascontiguousarray(palette.T.astype(np.uint8)[pixels.astype(np.intp)])


def _inverted(pixels: Pixels, header: Header) -> Pixels:
    if header.sample == "unsigned":
        largest = 255 if header.bits < 8 else 2**header.bits - 1
        return np.asarray(pixels.dtype.type(largest) - pixels)
    return np.asarray(-pixels if header.sample == "float" else ~pixels)


def _from_cmyk(pixels: Pixels) -> Pixels:
    paper = 255 - pixels.astype(np.uint16)
    return ((paper[..., :3] * paper[..., 3:] + 127) // 255).astype(np.uint8)
