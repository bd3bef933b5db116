"""One image file measured by itself, its picture and its table of particles."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from micrographia.measure.field import BY_ITSELF, Kind, Measured, measure_field
from micrographia.measure.overlay import Drawing, draw
from micrographia.measure.particles import Particles
from micrographia.measure.segment import Method
from micrographia.micrographs.lengths import printed_length
from micrographia.micrographs.picture import Picture, open_picture

COLUMNS = ("Label", "Area", "Feret", "MinFeret", "Diameter", "Circ.", "AR", "Cut", "Unit")
"""ImageJ's names where it has one; AR is its aspect ratio, largest over smallest."""


@dataclass(frozen=True)
class MeasuredPicture:
    """An image and everything that was measured on its field."""

    picture: Picture
    measured: Measured


def measure_picture(
    path: Path, kinds: tuple[Kind, ...] = BY_ITSELF, method: Method = "auto"
) -> MeasuredPicture:
    """Measure an image file. Raises UnreadableFile."""
    picture = open_picture(path)
    return MeasuredPicture(
        picture, measure_field(picture.field, picture.scale.pixel_size_nm, kinds, method, picture.burnt_in)
    )


def write_results(measured: MeasuredPicture, folder: Path) -> tuple[Path, ...]:
    """The picture as PNG and, where there are particles, their table as CSV; which files were written."""
    stem = Path(measured.picture.name).stem
    picture = folder / f"{stem}-measured.png"
    found = measured.measured
    trusted = found.segmentation is not None and found.segmentation.trusted
    particles = found.particles if trusted else None
    draw(
        Drawing(
            image=measured.picture.display,
            title=measured.picture.name,
            scale=measured.picture.scale,
            particles=particles,
            bar=measured.picture.bar,
            lines=_lines(measured),
        ),
        picture,
    )
    if particles is None or particles.count == 0:
        return (picture,)
    table = folder / f"{stem}-particles.csv"
    table.write_text(_table(particles), encoding="utf-8")
    return picture, table


def _lines(measured: MeasuredPicture) -> list[str]:
    scale = measured.picture.scale
    size = scale.pixel_size_nm
    lines = [f"scale: {scale.verdict}" + (f", {size:.4g} nm a pixel" if size else "")]
    for m in measured.measured.measurements:
        if m.quantity is not None and m.name in (
            "particle diameter",
            "particle count",
            "fibre diameter",
            "pitch",
        ):
            value = m.quantity.value
            words = printed_length(value) if m.quantity.unit == "nm" else f"{value:.3g} {m.quantity.unit}"
            lines.append(f"{m.name}: {words}" + (f" (n = {m.quantity.n})" if m.quantity.n else ""))
    return lines


def _table(particles: Particles) -> str:
    """A row a particle, lengths in the unit of the last column."""
    largest, smallest = particles.ferets
    held = io.StringIO()
    rows = csv.writer(held, lineterminator="\n")
    rows.writerow(COLUMNS)
    for k in range(particles.count):
        lengths = (largest[k], smallest[k], particles.diameters[k])
        rows.writerow(
            [
                k + 1,
                f"{particles.areas[k] * particles.length(1) ** 2:.6g}",
                *(f"{particles.length(length):.6g}" for length in lengths),
                f"{particles.circularities[k]:.4f}",
                f"{largest[k] / smallest[k]:.4f}",
                int(particles.cut[k]),
                particles.unit,
            ]
        )
    return held.getvalue()
