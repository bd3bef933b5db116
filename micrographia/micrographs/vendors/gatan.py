"""Gatan DigitalMicrograph: calibrations and "Microscope Info" in the tags of the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from micrographia.micrographs.formats import gatan
from micrographia.micrographs.lengths import nanometres
from micrographia.micrographs.vendors.tags import HeaderReading, Tags, pixel_reading, quantity, stage
from micrographia.records import Instrument, Quantity, ScaleReading, Stage

LONGEST = 1000
"""Characters of a tag that is kept."""
INFO = "Microscope Info "


def read(data: bytes) -> HeaderReading:
    """The header of the first image of the file."""
    image = gatan.picture(gatan.tree(data))
    tags = Tags(dict(_flat(data, gatan.branch(image, "ImageTags"))))
    calibrations = gatan.branch(image, "ImageData", "Calibrations", "Dimension")
    return HeaderReading(
        dialect="Gatan DigitalMicrograph",
        readings=_pixel_size(data, tags, calibrations),
        instrument=Instrument(
            technique=_technique(tags),
            maker=tags.text("Session Info Vendor"),
            model=tags.text(f"{INFO}Microscope", f"{INFO}Name"),
            detector=tags.text("Acquisition Device Name", "DataBar Device Name", "DataBar Signal Name"),
            accelerating_voltage=quantity(
                tags.positive("accelerating voltage", f"{INFO}Voltage"), 1e-3, "kV"
            ),
            magnification=tags.positive(
                "magnification", f"{INFO}Indicated Magnification", f"{INFO}Actual Magnification"
            ),
            taken=tags.text("DataBar Acquisition Date"),
            stage=_stage(tags),
        ),
        tags=tags.values,
        missing=tuple(tags.missing),
    )


def _flat(data: bytes, tree: gatan.Tree, path: str = "") -> Iterator[tuple[str, str]]:
    """Tags with their path as name; arrays that are no text are left out."""
    for name, tag in tree.items():
        here = f"{path} {name}".strip()
        if isinstance(tag, Mapping):
            yield from _flat(data, tag, here)
        elif words := gatan.words(data, tag):
            yield here, words[:LONGEST]


def _pixel_size(data: bytes, tags: Tags, calibrations: gatan.Tree) -> tuple[ScaleReading, ...]:
    sides = []
    for axis, number in (("columns", "0"), ("rows", "1")):
        calibration = gatan.branch(calibrations, number)
        step, unit = calibration.get("Scale"), gatan.words(data, calibration.get("Units"))
        size = nanometres(unit)
        if not isinstance(step, float) or not step > 0 or size is None:
            told = f"its unit is {unit!r}, no length" if unit else "it is not calibrated: no unit is told"
            tags.miss("pixel size", f"along {axis} {told}")
            return ()
        sides.append(step * size)
    return pixel_reading(tags, "vendor tag", sides[0], sides[1], "Calibrations Dimension 0 Scale")


def _technique(tags: Tags) -> str | None:
    mode = f"{tags.text(f'{INFO}Illumination Mode')} {tags.text(f'{INFO}Operation Mode')}".upper()
    return "STEM" if "STEM" in mode or "SCANNING" in mode else "TEM" if "TEM" in mode else None


def _stage(tags: Tags) -> Stage | None:
    """Positions in micrometres, angles in degrees."""

    def place(name: str, factor: float, unit: str) -> Quantity | None:
        tag = f"{INFO}Stage Position Stage {name}"
        return quantity(tags.number(f"stage {name}", tag), factor, unit) if tags.text(tag) else None

    return stage(
        x=place("X", 1e-3, "mm"),
        y=place("Y", 1e-3, "mm"),
        z=place("Z", 1e-3, "mm"),
        tilt=place("Alpha", 1, "°"),
    )
