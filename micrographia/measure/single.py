"""One image file measured by itself, its picture and its table of particles."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from micrographia.measure.field import BY_ITSELF, Kind, Measured, measure_field
from micrographia.measure.overlay import Drawing, draw
from micrographia.measure.particles import Particles
from micrographia.measure.segment import Method
from micrographia.micrographs.conflict_picture import Conflict, draw_conflict
from micrographia.micrographs.lengths import printed_quantity
from micrographia.micrographs.picture import Picture, open_picture

COLUMNS = ("Label", "X", "Y", "Area", "Feret", "MinFeret", "Diameter", "Circ.", "AR", "Cut", "Unit")
"""ImageJ's names where it has one: X and Y are the centroid from the upper left corner of the field; AR is
largest over smallest."""

DRAWN = ("particle diameter", "particle count", "fibre diameter", "pitch")
"""What stands in words below the picture."""


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


def names_for(paths: Sequence[Path]) -> list[str]:
    """For each image the name that its results begin with: its stem, and more where two would be alike."""
    names = [path.stem for path in paths]
    for longer in (lambda path: path.name, lambda path: f"{path.parent.name}-{path.name}"):
        often = Counter(names)
        names = [longer(p) if often[name] > 1 else name for p, name in zip(paths, names, strict=True)]
    often = Counter(names)
    return [f"{name}-{k}" if often[name] > 1 else name for k, name in enumerate(names, start=1)]


def write_results(measured: MeasuredPicture, folder: Path, stem: str | None = None) -> tuple[Path, ...]:
    """The picture as PNG, and where there are particles their table as CSV; which files were written.

    Their names begin with ``stem``, by default that of the image's name. Where readings of the scale
    contradict each other, a second picture shows how.
    """
    picture = measured.picture
    stem = stem or Path(picture.name).stem
    particles = measured.measured.outlined
    written = [folder / f"{stem}-measured.png"]
    draw(
        Drawing(
            image=picture.display,
            particles=particles,
            widths=measured.measured.crossed,
            bar=picture.bar,
            title=picture.name,
            lines=_lines(measured),
        ),
        written[0],
    )
    if particles is not None and particles.count:
        written.append(folder / f"{stem}-particles.csv")
        written[-1].write_text(_table(particles), encoding="utf-8")
    if picture.scale.verdict == "conflict":
        written.append(folder / f"{stem}-conflict.png")
        written[-1].write_bytes(
            draw_conflict(Conflict(picture.name, picture.display, picture.scale, picture.bar))
        )
    return tuple(written)


def _lines(measured: MeasuredPicture) -> list[str]:
    scale = measured.picture.scale
    size = scale.pixel_size_nm
    lines = [f"scale: {scale.verdict}" + (f", {size:.4g} nm a pixel" if size else "")]
    for m in measured.measured.measurements:
        if m.quantity is not None and m.name in DRAWN:
            value, interval = printed_quantity(m.quantity)
            count = f"n = {m.quantity.n}" if m.quantity.n else ""
            behind = ", ".join(filter(None, (f"95 % interval {interval}" if interval else "", count)))
            lines.append(f"{m.name}: {value}" + (f" ({behind})" if behind else ""))
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
                *(f"{particles.length(place):.6g}" for place in particles.centroids[k]),
                f"{particles.areas[k] * particles.length(1) ** 2:.6g}",
                *(f"{particles.length(length):.6g}" for length in lengths),
                f"{particles.circularities[k]:.4f}",
                f"{largest[k] / smallest[k]:.4f}",
                int(particles.cut[k]),
                particles.unit,
            ]
        )
    return held.getvalue()
