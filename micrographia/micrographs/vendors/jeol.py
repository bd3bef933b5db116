"""JEOL SEM: a ``.txt`` file beside the image, ``$KEY value`` a line."""

from __future__ import annotations

import re

from micrographia.micrographs.vendors.tags import HeaderReading, Tags, pixel_reading, quantity, stage
from micrographia.records import Instrument, ScaleReading, Stage

SIGNATURE = re.compile(r"^\$(CM|SM)_", re.MULTILINE)
_LINE = re.compile(r"^\$+([A-Z][A-Z0-9_]*)[ \t]+(.*)$", re.MULTILINE)
BAR_PIXEL = 0.5
"""The bar's length is written in whole pixels."""


def read(text: str, rows: int, columns: int) -> HeaderReading:
    """The file beside an image of ``rows`` x ``columns`` pixels."""
    tags = Tags({name: value.strip() for name, value in _LINE.findall(text)})
    return HeaderReading(
        dialect="JEOL",
        readings=_pixel_size(tags, rows, columns),
        instrument=Instrument(
            technique="SEM",
            maker="JEOL",
            model=tags.text("CM_INSTRUMENT"),
            detector=tags.text("CM_SIGNAL", "CM_SIGNAL_NAME"),
            accelerating_voltage=quantity(
                tags.positive("accelerating voltage", "CM_ACCEL_VOLT", "CM_ACCEL_VOLTAGE"), 1, "kV"
            ),
            working_distance=quantity(tags.positive("working distance", "SM_WD", "CM_WD"), 1, "mm"),
            magnification=tags.positive("magnification", "CM_MAG"),
            taken=tags.moment("%Y/%m/%d %H:%M:%S", "CM_DATE", "CM_TIME"),
            stage=_stage(tags),
        ),
        tags=tags.values,
        missing=tuple(tags.missing),
    )


def _pixel_size(tags: Tags, rows: int, columns: int) -> tuple[ScaleReading, ...]:
    """What the micron bar stands for over its pixels."""
    size = re.findall(r"\d+", tags.text("CM_FULL_SIZE") or "")
    if len(size) == 2 and int(size[0]) != columns:
        told = " x ".join(size)
        tags.miss(
            "pixel size", f"CM_FULL_SIZE is {told}, the image has {columns} x {rows}: resized or cropped"
        )
        return ()
    length = tags.length_nm("pixel size", "SM_MICRON_MARKER")
    bar = tags.positive("pixel size", "SM_MICRON_BAR")
    if length is None or bar is None:
        return ()
    detail = f"SM_MICRON_MARKER {tags.text('SM_MICRON_MARKER')} over SM_MICRON_BAR {bar:g} px"
    return pixel_reading(tags, "sidecar", length / bar, None, detail, BAR_PIXEL / bar)


def _stage(tags: Tags) -> Stage | None:
    """x, y, z in mm, rotation and tilt in degrees, in one line."""
    numbers = re.findall(r"[-+]?\d+(?:\.\d+)?", tags.text("CM_STAGE_POS", "CM_STAGE_POSITION") or "")
    if len(numbers) < 5:
        tags.miss("stage", "there is no CM_STAGE_POS with five numbers")
        return None
    x, y, z, rotation, tilt = (float(number) for number in numbers[:5])
    return stage(
        x=quantity(x, 1, "mm"),
        y=quantity(y, 1, "mm"),
        z=quantity(z, 1, "mm"),
        rotation=quantity(rotation, 1, "°"),
        tilt=quantity(tilt, 1, "°"),
    )
