"""TIFF of programs, told by ImageDescription: ImageJ's ``name=value`` lines, OME's XML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from micrographia.micrographs.lengths import nanometres
from micrographia.micrographs.vendors.tags import HeaderReading, Tags, ini, pixel_reading
from micrographia.records import Instrument, ScaleReading

MAX_XML = 4_000_000
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
OME_DEFAULT_UNIT = "µm"
"""Of PhysicalSizeX where no unit is told (OME schema 2016-06)."""


def is_imagej(description: str) -> bool:
    """Whether ImageJ or Fiji wrote it."""
    return description.startswith("ImageJ=")


def is_ome(description: str) -> bool:
    """Whether it is OME-XML."""
    return "<OME" in description[:2000] and "</OME>" in description[-200:]


def read_imagej(description: str, pixels_per_unit: Sequence[float | None]) -> HeaderReading:
    """``pixels_per_unit`` are X and YResolution."""
    written = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), description)
    tags = Tags(ini(written))
    return HeaderReading(
        dialect="ImageJ",
        readings=_imagej_pixel(tags, pixels_per_unit),
        tags=tags.values,
        missing=tuple(tags.missing),
    )


def _imagej_pixel(tags: Tags, pixels_per_unit: Sequence[float | None]) -> tuple[ScaleReading, ...]:
    unit, (across, down) = tags.text("unit"), pixels_per_unit
    size = nanometres(unit) if unit else None
    if unit is None or size is None:
        told = "no unit is told" if unit is None else f"its unit is {unit!r}, no length"
        tags.miss("pixel size", told)
        return ()
    if not across or across <= 0:
        tags.miss("pixel size", f"its unit is {unit} and there is no XResolution")
        return ()
    return pixel_reading(
        tags,
        "vendor tag",
        size / across,
        size / down if down and down > 0 else None,
        f"XResolution, {across:g} pixels per {unit}",
    )


def read_ome(description: str, columns: int) -> HeaderReading:
    """The first image of the OME-XML."""
    tags = Tags({})
    if len(description) > MAX_XML:
        tags.miss("header", f"its OME-XML has {len(description)} characters")
        return HeaderReading("OME", missing=tuple(tags.missing))
    try:
        root = ElementTree.fromstring(description)
    except ElementTree.ParseError as error:
        tags.miss("header", f"its OME-XML cannot be read ({error})")
        return HeaderReading("OME", missing=tuple(tags.missing))
    found: dict[str, str] = {}
    for element in root.iter():
        name = element.tag.rpartition("}")[2]
        for key, value in element.attrib.items():
            found.setdefault(f"{name} {key}", value)
        if element.text and element.text.strip():
            found.setdefault(name, element.text.strip())
    tags = Tags(found)
    return HeaderReading(
        dialect="OME",
        readings=_ome_pixel(tags, columns),
        instrument=Instrument(
            maker=tags.text("Microscope Manufacturer"),
            model=tags.text("Microscope Model"),
            detector=tags.text("Detector Model"),
            magnification=tags.positive(
                "magnification", "Objective CalibratedMagnification", "Objective NominalMagnification"
            ),
            taken=tags.text("AcquisitionDate"),
        ),
        tags=tags.values,
        missing=tuple(tags.missing),
    )


def _ome_pixel(tags: Tags, columns: int) -> tuple[ScaleReading, ...]:
    told = tags.text("Pixels SizeX")
    if told and told != str(columns):
        tags.miss("pixel size", f"SizeX is {told}, the image has {columns} columns: resized or cropped")
        return ()
    sides: list[float | None] = []
    for axis in "XY":
        number = tags.positive("pixel size", f"Pixels PhysicalSize{axis}")
        unit = tags.text(f"Pixels PhysicalSize{axis}Unit") or OME_DEFAULT_UNIT
        size = nanometres(unit)
        if number is not None and size is None:
            tags.miss("pixel size", f"PhysicalSize{axis} is in {unit!r}, no length")
        sides.append(None if number is None or size is None else number * size)
    return pixel_reading(tags, "vendor tag", sides[0], sides[1], "PhysicalSizeX")
