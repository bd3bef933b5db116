"""Patterned surfaces: pitch, symmetry, orientation and order, from the peaks of the power spectrum.

A lattice in the image is a lattice of peaks in the spectrum: a peak at wave vector g stands for planes 1/|g|
apart, and two of them span the lattice (Kittel, Introduction to Solid State Physics, chapter 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from micrographia.measure.measurement import refused
from micrographia.records import Measurement, Quantity

Grey = NDArray[np.float64]
Vector = NDArray[np.float64]

FEWEST_PERIODS = 4.0
"""Across the shorter side, below which it cannot be told from chance."""
FINEST_PX = 3.0
"""Shortest period, pixels."""
PEAK_OVER_GROUND = 30.0
"""A lattice's peak is so many times the power between peaks at its distance from the middle."""
RINGS = 6.0
"""Rings for each factor e of distance from the middle of the spectrum."""
LEAST_SHARE = 0.004
"""Of all the power at periods that are looked at, what the strongest peak and its twin hold."""
WEAKEST = 5e-3
"""Peaks of less than this part of the strongest one's power are not explained."""
CANDIDATES, STRONG = 12, 8
"""Wave vectors nearest the middle of which a basis is tried; peaks of which differences are taken."""
ENOUGH = 0.93
"""A coarser basis is taken where it explains so much of what the best one explains."""
LEAST_LIKENESS, KEPT, DRIFT = 0.15, 0.5, 2
"""Correlation of the picture with itself one lattice vector away; what is left of it two away; pixels that
the lattice may be off there."""
METHOD = "version 2"


@dataclass(frozen=True)
class Lattice:
    """One or two wave vectors in cycles per pixel, (row, column), and how strong the first one's peak is."""

    vectors: tuple[Vector, ...]
    strength: float
    """Power of the first peak over that between peaks at its distance from the middle."""

    @property
    def basis(self) -> tuple[Vector, ...]:
        """Lattice vectors in pixels, the shortest that there are; for a grating the step across its lines."""
        if len(self.vectors) == 1:
            g = self.vectors[0]
            return (g / (g @ g),)
        return _reduced(*np.linalg.inv(np.stack(self.vectors)).T)

    @property
    def pitch(self) -> float:
        """Length of the shortest lattice vector, pixels."""
        return float(np.linalg.norm(self.basis[0]))

    @property
    def symmetry(self) -> str:
        """lines, square, hexagonal, rectangular or oblique."""
        if len(self.basis) == 1:
            return "lines"
        first, second = self.basis
        lengths = np.linalg.norm(first), np.linalg.norm(second)
        alike = abs(lengths[0] / lengths[1] - 1) < 0.07
        angle = np.degrees(np.arccos(np.clip(abs(first @ second) / (lengths[0] * lengths[1]), 0, 1)))
        if angle > 85:
            return "square" if alike else "rectangular"
        return "hexagonal" if alike and angle < 65 else "oblique"


def _reduced(first: Vector, second: Vector) -> tuple[Vector, Vector]:
    """The shortest vectors of the same lattice (Gauss's reduction)."""
    for _ in range(32):
        if np.linalg.norm(first) > np.linalg.norm(second):
            first, second = second, first
        steps = np.rint(first @ second / (first @ first))
        if steps == 0:
            break
        second = second - steps * first
    return (first, second) if np.linalg.norm(first) <= np.linalg.norm(second) else (second, first)


def find_lattice(grey: Grey) -> Lattice | None:
    """The lattice of ``grey`` (rows, columns); None where no peak stands out of the spectrum."""
    power, step = _spectrum(grey)
    over = power / _ground(power, step)
    distance = _distance(power.shape, step)
    shortest = FEWEST_PERIODS / min(grey.shape)
    over[(distance < shortest) | (distance > 1 / FINEST_PX)] = 0
    peaks = _peaks(over, power)
    if not peaks or _share_of(power, peaks[0], distance >= shortest) < LEAST_SHARE:
        return None
    peaks = [place for place in peaks if power[place] >= WEAKEST * power[peaks[0]]]
    vectors = [_refined(power, place, step) for place in peaks]
    weights = np.sqrt([power[place] for place in peaks])
    found = Lattice(_basis(vectors, weights, max(step)), float(over[peaks[0]]))
    return found if _repeats(grey, found) else None


def _repeats(grey: Grey, lattice: Lattice) -> bool:
    """Whether the picture is like itself one and two lattice vectors away, as no peak by chance is.

    By the autocorrelation; the second is held against the first, since noise lowers both alike.
    """
    if min(grey.shape) / lattice.pitch < FEWEST_PERIODS:
        return False
    flat = grey - ndimage.gaussian_filter(grey, min(grey.shape) / 8)
    once, twice = (
        np.array([_likeness(flat - flat.mean(), times * vector) for vector in lattice.basis])
        for times in (1, 2)
    )
    return bool((once >= LEAST_LIKENESS).all() and (twice >= KEPT * once).all())


def _likeness(flat: Grey, vector: Vector) -> float:
    """The correlation of the picture with itself, moved by ``vector`` to within DRIFT pixels."""
    best = 0.0
    for row in range(round(vector[0]) - DRIFT, round(vector[0]) + DRIFT + 1):
        for column in range(round(vector[1]) - DRIFT, round(vector[1]) + DRIFT + 1):
            here, there = _shifted(flat, row, column), _shifted(flat, -row, -column)
            if here.size:
                best = max(best, float((here * there).mean()))
    return best / max(float((flat**2).mean()), 1e-12)


def _shifted(values: Grey, row: int, column: int) -> Grey:
    """The part of the picture that lies ``row`` and ``column`` farther."""
    rows, columns = values.shape
    return values[
        max(row, 0) : rows + min(row, 0) if abs(row) < rows else 0,
        max(column, 0) : columns + min(column, 0) if abs(column) < columns else 0,
    ]


def _share_of(power: NDArray[np.float64], place: tuple[int, int], band: NDArray[np.bool_]) -> float:
    """What the peak at ``place`` and its twin across the middle hold of the power in ``band``."""
    around = power[place[0] - 2 : place[0] + 3, place[1] - 2 : place[1] + 3]
    return 2 * float(around.sum() / power[band].sum())


def _basis(vectors: list[Vector], weights: NDArray[np.float64], step: float) -> tuple[Vector, ...]:
    """The coarsest one or two wave vectors of which nearly all peaks are sums.

    Strong harmonics alone would give a pitch that is too small; too fine a mesh explains noise as well.
    """
    near = _candidates(vectors, step)
    first = [(vector,) for vector in near]
    pairs = [(a, b) for a, b in combinations(near, 2) if _apart(a, b)]
    explained = [(_explained(basis, vectors, weights, step), basis) for basis in (*first, *pairs)]
    enough = ENOUGH * max(share for share, _ in explained)
    good = [basis for share, basis in explained if share >= enough]
    lines = [basis for basis in good if len(basis) == 1]
    return max(lines or good, key=_mesh)


def _candidates(vectors: list[Vector], step: float) -> list[Vector]:
    """The peaks nearest the middle, and differences of strong ones: first orders of a lattice may be dark."""
    strong = vectors[:STRONG]
    differences = [b - a for a, b in combinations(strong, 2)]
    kept: list[Vector] = []
    for vector in sorted([*vectors, *differences], key=lambda v: float(np.linalg.norm(v))):
        is_new = all(min(np.linalg.norm(vector - k), np.linalg.norm(vector + k)) > 3 * step for k in kept)
        if is_new and np.linalg.norm(vector) > 3 * step:
            kept.append(vector)
    return kept[:CANDIDATES]


def _mesh(basis: tuple[Vector, ...]) -> float:
    if len(basis) == 1:
        return float(np.linalg.norm(basis[0]))
    return abs(float(basis[0][0] * basis[1][1] - basis[0][1] * basis[1][0]))


def _explained(
    basis: tuple[Vector, ...], vectors: list[Vector], weights: NDArray[np.float64], step: float
) -> float:
    """The share of power in peaks that are whole sums of ``basis``, to within the width of a peak."""
    given = np.array(vectors)
    coefficients = given @ np.linalg.pinv(np.array(basis))
    left = np.linalg.norm(given - np.rint(coefficients) @ np.array(basis), axis=1)
    order = np.abs(np.rint(coefficients)).max(axis=1)
    return float(weights[left <= step * (1 + 0.5 * order)].sum() / weights.sum())


def _apart(first: Vector, second: Vector) -> bool:
    """Whether two wave vectors point 20 degrees or more apart."""
    sine = abs(first[0] * second[1] - first[1] * second[0]) / (np.linalg.norm(first) * np.linalg.norm(second))
    return bool(sine > np.sin(np.radians(20)))


def _spectrum(grey: Grey) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Power, the middle at the middle, with a Hann window, and the step between its samples in cycles/px."""
    window = np.outer(*(np.hanning(n) for n in grey.shape))
    flat = (grey - ndimage.gaussian_filter(grey, min(grey.shape) / 8)) * window
    sizes = [fft.next_fast_len(2 * n) for n in grey.shape]
    power = np.abs(fft.fftshift(fft.fft2(flat, s=sizes))) ** 2
    return np.asarray(power), (1 / sizes[0], 1 / sizes[1])


def _distance(shape: tuple[int, ...], step: tuple[float, float]) -> NDArray[np.float64]:
    r, c = ((np.arange(n) - n // 2) * s for n, s in zip(shape, step, strict=True))
    return np.asarray(np.hypot(r[:, None], c[None]))


def _ground(power: NDArray[np.float64], step: tuple[float, float]) -> NDArray[np.float64]:
    """The power between peaks at each distance from the middle: the lower third of widening rings."""
    ring = np.rint(RINGS * np.log1p(_distance(power.shape, step) / max(step))).astype(np.intp)
    order = np.argsort(ring, axis=None)
    starts = np.searchsorted(ring.ravel()[order], np.arange(ring.max() + 2))
    values = power.ravel()[order]
    lower = np.array([np.percentile(values[a:b], 33) if b > a else 0 for a, b in pairwise(starts)])
    # Of noise, whose power is exponentially distributed, the lower third is at 0.4 of the mean.
    return np.asarray(np.maximum(lower[ring] / 0.4, 1e-12 * power.max() + 1e-300))


def _peaks(over: NDArray[np.float64], power: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Local maxima of one half of the plane, the most powerful first."""
    top = (power == ndimage.maximum_filter(power, 7)) & (over >= PEAK_OVER_GROUND)
    rows, columns = np.nonzero(top)
    half = (rows > over.shape[0] // 2) | ((rows == over.shape[0] // 2) & (columns > over.shape[1] // 2))
    found = sorted(zip(rows[half], columns[half], strict=True), key=lambda place: -power[place])
    return [(int(r), int(c)) for r, c in found[:40]]


def _refined(power: NDArray[np.float64], place: tuple[int, int], step: tuple[float, float]) -> Vector:
    """The peak between samples: a parabola through the logarithm of power, as for any windowed wave."""
    vector = []
    for axis in (0, 1):
        index = [place[axis] + shift for shift in (-1, 0, 1)]
        values = [np.log(power[(i, place[1]) if axis == 0 else (place[0], i)] + 1e-300) for i in index]
        bend = values[0] - 2 * values[1] + values[2]
        shift = 0.5 * (values[0] - values[2]) / bend if bend < 0 else 0.0
        vector.append((place[axis] + shift - power.shape[axis] // 2) * step[axis])
    return np.array(vector)


def measure_pattern(grey: Grey, pixel_nm: float | None = None) -> tuple[Measurement, ...]:
    """Pitch and orientation of the pattern of ``grey`` (rows, columns); refused where there is none."""
    methods = {
        "pitch": "length of the shortest lattice vector, from peaks of the power spectrum; interval: half a "
        f"step of the spectrum over the root of the peak's height ({METHOD})",
        "pattern orientation": f"direction of that vector, degrees from growing columns ({METHOD})",
    }
    lattice = find_lattice(grey)
    if lattice is None:
        reason = "nothing repeats: no period stands out of the spectrum and is found again in the picture"
        return refused(methods, reason)
    periods = min(grey.shape) / lattice.pitch
    half_width = lattice.pitch * 0.5 / periods / np.sqrt(max(lattice.strength, 1) / PEAK_OVER_GROUND)
    row, column = lattice.basis[0]
    return (
        Measurement(
            name="pitch",
            quantity=Quantity(
                value=lattice.pitch,
                unit="px",
                low=lattice.pitch - half_width,
                high=lattice.pitch + half_width,
                n=round(periods),
            ).scaled(pixel_nm),
            method=methods["pitch"],
        ),
        Measurement(
            name="pattern orientation",
            quantity=Quantity(value=float(np.degrees(np.arctan2(-row, column)) % 180), unit="°"),
            method=methods["pattern orientation"],
        ),
    )
