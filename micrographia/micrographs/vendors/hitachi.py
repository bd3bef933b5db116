"""Hitachi SEM: a ``.txt`` file beside the image, often UTF-16, INI with one section [SemImageFile]."""

from __future__ import annotations

import re

from micrographia.micrographs.vendors.tags import HeaderReading, Tags, ini, pixel_reading, quantity
from micrographia.records import Instrument, ScaleReading

SIGNATURE = re.compile(r"^\[(Sem|Tem)ImageFile\]", re.MULTILINE)


def read(text: str, rows: int, columns: int) -> HeaderReading:
    """The file beside an image of ``rows`` x ``columns`` pixels."""
    tags = Tags({name.partition("] ")[2]: value for name, value in ini(text).items()})
    return HeaderReading(
        dialect="Hitachi",
        readings=_pixel_size(tags, rows, columns),
        instrument=Instrument(
            technique="TEM" if "[TemImageFile]" in text else "SEM",
            maker="Hitachi",
            model=tags.text("InstructName", "Instrument name", "InstrumentName"),
            detector=tags.text("SignalName"),
            accelerating_voltage=quantity(
                tags.positive("accelerating voltage", "AcceleratingVoltage"), 1e-3, "kV"
            ),
            working_distance=quantity(tags.length_nm("working distance", "WorkingDistance"), 1e-6, "mm"),
            magnification=tags.positive("magnification", "Magnification"),
            taken=tags.moment("%Y/%m/%d %H:%M:%S", "Date", "Time"),
            stage=tags.stage(
                x=("StagePositionX", 1e-6, "mm"),  # nanometres
                y=("StagePositionY", 1e-6, "mm"),
                z=("StagePositionZ", 1e-6, "mm"),
                rotation=("StagePositionR", 1, "°"),
                tilt=("StagePositionT", 1, "°"),
            ),
        ),
        tags=tags.values,
        missing=tuple(tags.missing),
    )


def _pixel_size(tags: Tags, rows: int, columns: int) -> tuple[ScaleReading, ...]:
    """PixelSize, in nanometres, of an image of DataSize pixels."""
    size = re.findall(r"\d+", tags.text("DataSize") or "")
    if len(size) == 2 and (int(size[0]), int(size[1])) != (columns, rows):
        told = " x ".join(size)
        tags.miss("pixel size", f"DataSize is {told}, the image has {columns} x {rows}: resized or cropped")
        return ()
    return pixel_reading(tags, "sidecar", tags.positive("pixel size", "PixelSize"), None, "PixelSize")
