"""Cameras on transmission microscopes that write into TIFF: Olympus SIS (33560) and TVIPS (37706)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from micrographia.micrographs.vendors.tags import HeaderReading, Tags, pixel_reading, quantity
from micrographia.records import Instrument

OLYMPUS, TVIPS = 33560, 37706


def read_olympus(values: Mapping[str, Any]) -> HeaderReading:
    """Tag 33560 as tifffile reads it; sizes in metres."""
    tags = Tags({name: str(value) for name, value in values.items()})
    across, down = (tags.positive("pixel size", f"pixelsize{axis}") for axis in "xy")
    date: Any = values.get("datetime")
    return HeaderReading(
        dialect="Olympus SIS",
        readings=pixel_reading(
            tags, "vendor tag", across and across * 1e9, down and down * 1e9, "pixelsizex"
        ),
        instrument=Instrument(
            maker="Olympus SIS",
            detector=tags.text("cameraname"),
            magnification=tags.positive("magnification", "magnification"),
            taken=date.isoformat() if hasattr(date, "isoformat") else None,
        ),
        tags=tags.values,
        missing=tuple(tags.missing),
    )


def read_tvips(values: Mapping[str, Any]) -> HeaderReading:
    """Tag 37706 as tifffile reads it; sizes in nanometres, voltage in volts."""
    tags = Tags({name: str(value) for name, value in values.items()})
    across, down = (tags.positive("pixel size", f"PixelSize{axis}") for axis in "XY")
    return HeaderReading(
        dialect="TVIPS",
        readings=pixel_reading(tags, "vendor tag", across, down, "PixelSizeX"),
        instrument=Instrument(
            technique="TEM",
            maker="TVIPS",
            detector=tags.text("CameraType"),
            accelerating_voltage=quantity(
                tags.positive("accelerating voltage", "TemHighTension", "HighTension"), 1e-3, "kV"
            ),
            magnification=tags.positive("magnification", "TemMagnification", "Magnification"),
        ),
        tags=tags.values,
        missing=tuple(tags.missing),
    )
