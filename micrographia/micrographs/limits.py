"""What an image may ask for. Checked against its header, before a pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from micrographia.errors import ImageTooLarge
from micrographia.micrographs.header import Header

GIB = 2**30


@dataclass(frozen=True)
class Limits:
    """The largest image and file that are taken.

    The defaults let through the largest mosaic that a laboratory stores as one image (16,384 x 16,384,
    268 Mpx, also as float64: exactly 2 GiB) and refuse what only a mistake or an attack asks for
    (30,000 x 30,000 is 900 Mpx). They also bound the memory of one worker: the file, the decoded
    array, and one copy of it.
    """

    max_pixels: int = 400_000_000
    max_side: int = 100_000
    max_decoded_bytes: int = 2 * GIB
    max_file_bytes: int = 3 * GIB


def check_header(header: Header, limits: Limits) -> None:
    """Raise ``ImageTooLarge`` where ``header`` asks for more than ``limits`` allow."""
    size = f"{header.columns} x {header.rows} pixels"
    remedy = "cut it into fields or bin it"
    if header.rows * header.columns > limits.max_pixels:
        raise ImageTooLarge(f"{size} are more than the {limits.max_pixels / 1e6:.0f} Mpx allowed", remedy)
    if max(header.rows, header.columns) > limits.max_side:
        raise ImageTooLarge(f"{size}: a side is longer than the {limits.max_side} px allowed", remedy)
    if header.decoded_bytes > limits.max_decoded_bytes:
        need, allowed = header.decoded_bytes / GIB, limits.max_decoded_bytes / GIB
        raise ImageTooLarge(f"{size} need {need:.1f} GiB decoded, {allowed:.1f} GiB are allowed", remedy)


def check_file_size(n_bytes: int, limits: Limits) -> None:
    """Raise ``ImageTooLarge`` where a file of ``n_bytes`` is more than ``limits`` allow."""
    if n_bytes > limits.max_file_bytes:
        size, allowed = n_bytes / GIB, limits.max_file_bytes / GIB
        raise ImageTooLarge(f"the file has {size:.1f} GiB, {allowed:.1f} GiB are allowed", "split it")
