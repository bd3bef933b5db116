"""Thermo Fisher Velox (.emd): JSON of the first image. Berkeley's EMD: the steps of its axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from micrographia.micrographs.formats import emd
from micrographia.micrographs.lengths import nanometres
from micrographia.micrographs.vendors.tags import HeaderReading, Tags, pixel_reading, quantity
from micrographia.records import Instrument, ScaleReading

CONSISTENT = 0.01


def read(data: bytes, columns: int) -> HeaderReading:
    """The header of the first image, which has ``columns`` pixels across."""
    told = emd.metadata(data)
    if "axes" in told:
        return _berkeley(told["axes"])
    tags = Tags(dict(_flat(told)))
    technique = {"1": "TEM", "2": "STEM"}.get(tags.text("Optics OperatingMode") or "")
    magnified = (
        "CustomProperties StemMagnification value" if technique == "STEM" else "Optics NominalMagnification"
    )
    return HeaderReading(
        dialect="Velox",
        readings=_pixel_size(tags, columns),
        instrument=Instrument(
            technique=technique,
            maker=tags.text("Instrument Manufacturer"),
            model=tags.text("Instrument InstrumentModel", "Instrument InstrumentClass"),
            detector=tags.text("BinaryResult Detector"),
            accelerating_voltage=quantity(
                tags.positive("accelerating voltage", "Optics AccelerationVoltage"), 1e-3, "kV"
            ),
            magnification=tags.positive("magnification", magnified),
            taken=_taken(tags),
            stage=tags.stage(
                x=("Stage Position x", 1e3, "mm"),
                y=("Stage Position y", 1e3, "mm"),
                z=("Stage Position z", 1e3, "mm"),
                tilt=("Stage AlphaTilt", 180 / math.pi, "°"),
            ),
        ),
        tags=tags.values,
        missing=tuple(tags.missing),
    )


def _flat(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        here = f"{path} {name}".strip()
        if isinstance(value, Mapping):
            yield from _flat(value, here)
        else:
            yield here, str(value)


def _pixel_size(tags: Tags, columns: int) -> tuple[ScaleReading, ...]:
    """Per image pixel, whatever size the camera has: the offset, half the field, says the same."""
    sides = []
    for axis, side in (("X", "width"), ("Y", "height")):
        unit = tags.text(f"BinaryResult PixelUnit{axis}")
        size = nanometres(unit) if unit else None
        if size is None:
            tags.miss("pixel size", f"its unit is {unit!r}, no length")
            return ()
        number = tags.positive("pixel size", f"BinaryResult PixelSize {side}")
        sides.append(number and number * size)
    scale = pixel_reading(tags, "vendor tag", sides[0], sides[1], "BinaryResult PixelSize")
    offset = tags.number("field", "BinaryResult Offset x") if tags.text("BinaryResult Offset x") else None
    if scale and offset and sides[0]:
        by_field = -2 * offset * (nanometres(tags.text("BinaryResult PixelUnitX") or "") or 1) / columns
        if by_field > 0 and abs(by_field / sides[0] - 1) > CONSISTENT:
            scale += pixel_reading(tags, "vendor tag", by_field, None, "BinaryResult Offset x")
    return scale


def _taken(tags: Tags) -> str | None:
    seconds = tags.positive("date", "Acquisition AcquisitionStartDatetime DateTime")
    if seconds is None or seconds > 4e9:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _berkeley(axes: list[dict[str, Any]]) -> HeaderReading:
    tags = Tags(
        {f"dim{i} {key}": str(value) for i, axis in enumerate(axes, 1) for key, value in axis.items()}
    )
    down, across = axes[-2:]
    sizes = [nanometres(str(axis.get("units", ""))) for axis in (across, down)]
    if None in sizes or "pixel" not in across or "pixel" not in down:
        tags.miss(
            "pixel size", f"its axes are in {across.get('units')!r} and {down.get('units')!r}, no lengths"
        )
        return HeaderReading("Berkeley EMD", tags=tags.values, missing=tuple(tags.missing))
    width, height = (
        abs(axis["pixel"]) * (size or 0) for axis, size in zip((across, down), sizes, strict=True)
    )
    return HeaderReading(
        "Berkeley EMD",
        readings=pixel_reading(tags, "vendor tag", width, height, f"dim{len(axes)}"),
        tags=tags.values,
        missing=tuple(tags.missing),
    )
