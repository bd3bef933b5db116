"""How right the sizes are on drawn images, with noise, blur and touching objects, whose truth is exact.

    python -m benchmarks.phantom_measure [--json] [--images 200]

Three tenths of the images are dispersions, two tenths particles and powders, a quarter patterned surfaces,
a quarter fibres and nanowires; none was drawn for training. Keys, medians of relative errors of the images
answered: ``diameter_error`` and ``count_error`` of particles, ``pitch_error``, ``fibre_error``;
``area_fraction_error`` in percentage points; ``..._answered`` is the share of images that had a number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks import command
from micrographia import phantoms
from micrographia.measure.fibres import weighted_quantile
from micrographia.measure.field import measure_field
from micrographia.measure.particles import Particles
from micrographia.phantoms.dispersions import draw_dispersion
from micrographia.phantoms.truth import ObjectTruth
from micrographia.records import Measurement

FIRST_SEED = 900_000
Found = dict[str, Measurement]


def named(measurements: tuple[Measurement, ...]) -> Found:
    return {m.name: m for m in measurements}


def error(found: Found, name: str, truth: float) -> float | None:
    """Relative; None where there is no number."""
    quantity = found[name].quantity
    return None if quantity is None else abs(quantity.value / truth - 1)


def dispersions(number: int) -> Iterator[tuple[str, float | None]]:
    for k in range(number):
        drawn = draw_dispersion(np.random.default_rng([FIRST_SEED, k]), 384)
        truth = Particles(drawn.labels)
        if (~truth.cut).sum() == 0:
            continue
        found = named(measure_field(drawn.image, None, ("particles",)).measurements)
        yield "diameter", error(found, "particle diameter", float(np.median(truth.diameters[~truth.cut])))
        yield "count", error(found, "particle count", truth.count)
        cover = found["particle area fraction"].quantity
        yield (
            "area_fraction",
            None if cover is None else abs(cover.value - 100 * float((drawn.labels > 0).mean())),
        )


def powders(number: int) -> Iterator[tuple[str, float | None]]:
    for k in range(number):
        drawn = phantoms.draw(("Particles", "Powder")[k % 2], FIRST_SEED + k, (512, 512))
        whole = [one.equivalent_diameter_px for one in drawn.truth.objects if one.whole]
        if not whole:
            continue
        found = named(measure_field(drawn.image, None, ("particles",)).measurements)
        yield "diameter", error(found, "particle diameter", float(np.median(whole)))
        yield "count", error(found, "particle count", len(drawn.truth.objects))


def patterns(number: int) -> Iterator[tuple[str, float | None]]:
    """Against the shortest lattice vector in the picture; of tilted gratings it is not known."""
    for k in range(number):
        drawn = phantoms.draw("Patterned Surface", FIRST_SEED + k, (512, 512))
        truth = drawn.truth.quantities
        if "lattice_a_row_px" in truth:
            vectors = [
                np.array([truth[f"lattice_{v}_{axis}_px"].value for axis in ("row", "col")]) for v in "ab"
            ]
            sums = [vectors[0], vectors[1], vectors[0] + vectors[1], vectors[0] - vectors[1]]
            pitch = min(float(np.linalg.norm(vector)) for vector in sums)
        elif truth["tilt_deg"].value == 0:
            pitch = truth["pitch_px"].value
        else:
            continue
        yield (
            "pitch",
            error(named(measure_field(drawn.image, None, ("pattern",)).measurements), "pitch", pitch),
        )


def seen_width(objects: Sequence[ObjectTruth]) -> float | None:
    """The width that half of the length in view is narrower than; None of rods seen on their ends."""
    strands = [(one.width_px, one.visible_px / one.width_px) for one in objects if one.width_px]
    if not strands:
        return None
    widths, lengths = np.array(strands).T
    return weighted_quantile(widths, lengths, 0.5)


def strands(number: int) -> Iterator[tuple[str, float | None]]:
    """Against the median width of the length in view: what is hidden, no image tells."""
    for k in range(number):
        drawn = phantoms.draw(("Fibres", "Nanowires")[k % 2], FIRST_SEED + k, (512, 512))
        width = seen_width(drawn.truth.objects)
        if width is not None:
            found = named(measure_field(drawn.image, None, ("fibres",)).measurements)
            yield "fibre", error(found, "fibre diameter", width)


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--images", type=int, default=200, help="drawn images in all")
    options = parser.parse_args()
    n = options.images
    errors: dict[str, list[float | None]] = defaultdict(list)
    for source in (dispersions(3 * n // 10), powders(n // 5), patterns(n // 4), strands(n // 4)):
        for name, value in source:
            errors[name].append(value)
    figures: dict[str, float | int | str] = {}
    for name, values in errors.items():
        answered = [value for value in values if value is not None]
        figures[f"{name}_error"] = round(float(np.median(answered)), 4) if answered else -1.0
        figures[f"{name}_answered"] = round(len(answered) / len(values), 3)
        figures[f"{name}_images"] = len(values)
    command.show(figures, options.json)


if __name__ == "__main__":
    main()
