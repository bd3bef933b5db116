"""The readings of an image's scale in words: for the terminal, the report, and pictures of a conflict."""

from __future__ import annotations

from micrographia.records import Scale, ScaleReading

SOURCES = {
    "vendor tag": "header",
    "sidecar": "text file",
    "scale bar": "scale bar",
    "field width": "printed field width",
    "table": "table",
}
"""Where a reading comes from, as people say it."""


def reading_in_words(reading: ScaleReading) -> str:
    """Nanometres of a pixel, who says so, and the tag or label as it was read."""
    detail = f" ({reading.detail})" if reading.detail else ""
    size = f"{reading.pixel_size_nm:.4g}"
    if reading.pixel_height_nm is not None:
        size += f" x {reading.pixel_height_nm:.4g}"
    return f"{size} nm by {SOURCES[reading.source]}{detail}"


def scale_in_words(scale: Scale) -> str:
    """What the scale is, and by which readings."""
    readings = "; ".join(reading_in_words(reading) for reading in scale.readings)
    if scale.verdict == "none":
        return "scale: not known, lengths are in pixels"
    if scale.verdict == "conflict":
        return f"scale: in conflict, lengths are in pixels: {readings}"
    if scale.pixel_size_nm is None:
        return f"scale: {scale.verdict}, but its pixels are not square, so lengths are in pixels: {readings}"
    return f"scale: {scale.verdict}: {readings}"
