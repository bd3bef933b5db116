"""Zeiss SmartSEM, TIFF tag 34118 (CZ_SEM): unnamed numbers, then a name and "label = value" in turn."""

from __future__ import annotations

import re

from micrographia.micrographs.lengths import plain
from micrographia.micrographs.vendors.tags import HeaderReading, Tags, pixel_reading, quantity
from micrographia.records import Instrument, ScaleReading

TAG = 34118
DISPLAY_COLUMNS = 1024
"""The unnamed pixel size is that of a display so wide, whatever was stored (hyperspy/hyperspy #2056)."""
UNNAMED_PIXEL = "unnamed 3"
CONSISTENT = 0.01

_NAME = re.compile(r"[A-Z]{2}_[A-Z0-9_]+")
_MAGNIFICATION = re.compile(r"([\d.]+)\s*(K?)\s*X", re.IGNORECASE)
_STORED = re.compile(r"(\d+)\s*\*\s*(\d+)")


def read(text: str, rows: int, columns: int) -> HeaderReading:
    """The header of an image of ``rows`` x ``columns`` pixels."""
    tags = Tags(_pairs(plain(text)))
    return HeaderReading(
        dialect="Zeiss",
        readings=_pixel_size(tags, rows, columns),
        instrument=Instrument(
            technique="SEM",
            maker="Zeiss",
            model=tags.text("DP_SEM"),
            detector=tags.text("DP_DETECTOR_CHANNEL", "DP_DETECTOR_TYPE"),
            accelerating_voltage=quantity(
                tags.positive("accelerating voltage", "AP_ACTUALKV", "AP_MANUALKV"), 1, "kV"
            ),
            working_distance=quantity(tags.length_nm("working distance", "AP_WD"), 1e-6, "mm"),
            magnification=_magnification(tags),
            taken=tags.moment("%d %b %Y %H:%M:%S", "AP_DATE", "AP_TIME"),
            stage=tags.stage(
                x=("AP_STAGE_AT_X", 1, "mm"),
                y=("AP_STAGE_AT_Y", 1, "mm"),
                z=("AP_STAGE_AT_Z", 1, "mm"),
                rotation=("AP_STAGE_AT_R", 1, "°"),
                tilt=("AP_STAGE_AT_T", 1, "°"),
            ),
        ),
        tags=tags.values,
        missing=tuple(tags.missing),
    )


def _pairs(text: str) -> dict[str, str]:
    """Values by name; numbers before the first name are called "unnamed" and their place."""
    lines = [line.strip() for line in text.replace("\0", "").splitlines()]
    lines = lines[next((i for i, line in enumerate(lines) if line), 0) :]
    first = next((i for i, line in enumerate(lines) if _NAME.fullmatch(line)), len(lines))
    found = {f"unnamed {i}": line for i, line in enumerate(lines[:first]) if line}
    for name, line in zip(lines[first:], lines[first + 1 :], strict=False):
        if _NAME.fullmatch(name) and not _NAME.fullmatch(line):
            label, equals, value = line.partition("=")
            found[name] = value.strip() if equals else label.partition(":")[2].strip()
    return found


def _pixel_size(tags: Tags, rows: int, columns: int) -> tuple[ScaleReading, ...]:
    """AP_IMAGE_PIXEL_SIZE, which is of the stored image, held against the unnamed size of the display's.

    AP_PIXEL_SIZE is the display's, off by a factor where another width was stored: it is never taken.
    """
    stored = _STORED.search(tags.text("DP_IMAGE_STORE") or "")
    if stored and (int(stored[1]), int(stored[2])) != (columns, rows):
        size = f"{columns} x {rows}"
        tags.miss(
            "pixel size", f"stored as {stored[1]} x {stored[2]}, the image has {size}: resized or cropped"
        )
        return ()
    named = tags.length_nm("pixel size", "AP_IMAGE_PIXEL_SIZE") if tags.text("AP_IMAGE_PIXEL_SIZE") else None
    display = tags.number("pixel size", UNNAMED_PIXEL) if tags.text(UNNAMED_PIXEL) else None
    unnamed = display * 1e9 * DISPLAY_COLUMNS / columns if display and display > 0 else None
    if named is None and unnamed is None:
        tags.miss("pixel size", f"there is no AP_IMAGE_PIXEL_SIZE and no {UNNAMED_PIXEL}")
        return ()
    detail = f"{UNNAMED_PIXEL} x {DISPLAY_COLUMNS} / {columns}"
    if named is None:
        return pixel_reading(tags, "vendor tag", unnamed, None, detail)
    scale = pixel_reading(tags, "vendor tag", named, None, "AP_IMAGE_PIXEL_SIZE")
    if unnamed and abs(unnamed / named - 1) > CONSISTENT:
        scale += pixel_reading(tags, "vendor tag", unnamed, None, detail)
    return scale


def _magnification(tags: Tags) -> float | None:
    """From "50.00 K X" or "312 X"."""
    words = tags.text("AP_MAG") or ""
    found = _MAGNIFICATION.fullmatch(words)
    if found is None or not float(found[1]) > 0:
        tags.miss("magnification", f"AP_MAG is {words!r}")
        return None
    return float(found[1]) * (1000 if found[2] else 1)
