"""FEI TIA: the steps in a ``.ser`` file, and the XML inside the ``.emi`` file beside it."""

from __future__ import annotations

import re

from micrographia.micrographs.formats import ser
from micrographia.micrographs.vendors.tags import HeaderReading, Tags, pixel_reading, quantity
from micrographia.records import Instrument, ScaleReading

SIGNATURE = re.compile(r"<ObjectInfo>")
LARGEST_STEP_M = 1e-3
"""Steps of diffraction patterns are in 1/m, 1e6 and more."""
_LABELLED = re.compile(r"<Label>([^<]*)</Label>\s*<Value>([^<]*)</Value>\s*(?:<Unit>([^<]*)</Unit>)?")
_PLAIN = re.compile(r"<(\w+)>([^<>]+)</\1>")


def read(data: bytes) -> HeaderReading:
    """The first image of a ``.ser`` file; TIA tells no unit, images are in metres."""
    across, down = ser.element(data).steps
    tags = Tags({"CalibrationDeltaX": f"{across!r}", "CalibrationDeltaY": f"{down!r}"})
    if max(abs(across), abs(down)) > LARGEST_STEP_M:
        tags.miss(
            "pixel size", f"its step is {across:g}, no length: a diffraction pattern, or not calibrated"
        )
        readings: tuple[ScaleReading, ...] = ()
    else:
        readings = pixel_reading(tags, "vendor tag", abs(across) * 1e9, abs(down) * 1e9, "CalibrationDeltaX")
    return HeaderReading("FEI TIA", readings=readings, tags=tags.values, missing=tuple(tags.missing))


def read_emi(text: str, _rows: int = 0, _columns: int = 0) -> HeaderReading:
    """What the ``.emi`` file tells of the microscope."""
    found = dict(_PLAIN.findall(text))
    found |= {
        label.strip(): f"{value.strip()} {unit.strip()}".strip()
        for label, value, unit in _LABELLED.findall(text)
    }
    tags = Tags(found)
    mode = (tags.text("Mode") or "").upper()
    return HeaderReading(
        dialect="FEI TIA",
        instrument=Instrument(
            technique="STEM" if "STEM" in mode else "TEM" if "TEM" in mode else None,
            maker=tags.text("Manufacturer"),
            model=tags.text("Microscope"),
            detector=tags.text("CameraNamePath"),
            accelerating_voltage=quantity(tags.positive("accelerating voltage", "High tension"), 1, "kV"),
            magnification=tags.positive("magnification", "Magnification"),
            taken=tags.text("AcquireDate"),
        ),
        tags=tags.values,
        missing=tuple(tags.missing),
    )
