"""TESCAN: ``Key=value`` lines in TIFF tag 50431, among other bytes, or in a ``.hdr`` file."""

from __future__ import annotations

import re
from dataclasses import replace

from micrographia.micrographs.vendors.tags import HeaderReading, Source, Tags, pixel_reading, quantity
from micrographia.records import Instrument

TAG = 50431
SIDECAR = re.compile(r"^\[MAIN\].*^PixelSizeX=", re.MULTILINE | re.DOTALL)
_LINE = re.compile(r"^([A-Za-z]\w*)=([^\r\n\0]*)", re.MULTILINE)


def read(text: str, rows: int, source: Source = "vendor tag") -> HeaderReading:
    """The header of an image of ``rows`` rows, its databar included."""
    tags = Tags({name: value.strip() for name, value in _LINE.findall(text)})
    across = tags.positive("pixel size", "PixelSizeX")
    down = tags.positive("pixel size", "PixelSizeY")
    return HeaderReading(
        dialect="TESCAN",
        readings=pixel_reading(
            tags,
            source,
            across and across * 1e9,
            down and down * 1e9,
            "PixelSizeX",
            relative_uncertainty=0.001,
        ),
        instrument=Instrument(
            technique="SEM",
            maker="TESCAN",
            model=tags.text("Device", "DeviceModel"),
            detector=tags.text("Detector", "Detector0"),
            accelerating_voltage=quantity(
                tags.positive("accelerating voltage", "HV", "AcceleratorVoltage"), 1e-3, "kV"
            ),
            working_distance=quantity(tags.positive("working distance", "WD"), 1e3, "mm"),
            magnification=tags.positive("magnification", "Magnification"),
            taken=tags.moment("%Y-%m-%d %H:%M:%S", "Date", "Time"),
            stage=tags.stage(
                x=("StageX", 1e3, "mm"),
                y=("StageY", 1e3, "mm"),
                z=("StageZ", 1e3, "mm"),
                rotation=("StageRotation", 1, "°"),
                tilt=("StageTilt", 1, "°"),
            ),
        ),
        tags=tags.values,
        missing=tuple(tags.missing),
        databar_rows=_databar_rows(tags, rows),
    )


def read_sidecar(text: str, rows: int, _columns: int) -> HeaderReading:
    """The ``.hdr`` file beside an image, which does not tell how many pixels it is of."""
    told = read(text, rows, source="sidecar")
    unchecked = "image size: the .hdr tells none, so a copy that was resized could not be noticed"
    return replace(told, missing=(*told.missing, unchecked))


def _databar_rows(tags: Tags, rows: int) -> int | None:
    """ImageStripSize: the rows that the databar takes of the image."""
    words = tags.text("ImageStripSize") or ""
    return int(words) if re.fullmatch(r"\d{1,6}", words) and int(words) < rows else None
