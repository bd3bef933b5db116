"""Patterned surfaces: ordered arrays of pillars, holes, domes and lines, seen from above or tilted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from micrographia.phantoms.fields import Array, rough, soften
from micrographia.phantoms.relief import Stage, step, tilted
from micrographia.phantoms.scene import Drawing, Scene, Variety, View
from micrographia.phantoms.truth import Truth, count, degrees, length, percent
from micrographia.records import Quantity

ANGLES = {"square": 90.0, "hexagonal": 60.0, "rectangular": 90.0}


@dataclass(frozen=True)
class Lattice:
    """A plane lattice by its two shortest vectors, (row, column) pixels, and the place of one point."""

    symmetry: str
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    origin: NDArray[np.float64]

    def nearest(self, shape: tuple[int, int]) -> tuple[Array, Array, NDArray[np.int32]]:
        """For every pixel: offset (row, column) from the nearest point, and that point's two indices.

        The four corners of the cell in which a pixel lies suffice, as the vectors are the shortest ones.
        """
        rows, cols = np.indices(shape, dtype=np.float32)
        inverse = np.linalg.inv(np.stack([self.first, self.second], axis=1)).astype(np.float32)
        down, right = rows - np.float32(self.origin[0]), cols - np.float32(self.origin[1])
        u = np.floor(inverse[0, 0] * down + inverse[0, 1] * right)
        v = np.floor(inverse[1, 0] * down + inverse[1, 1] * right)
        best = np.full(shape, np.inf, np.float32)
        offset, index = np.zeros((2, *shape), np.float32), np.zeros((2, *shape), np.int32)
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            there = [
                (u + i) * np.float32(a) + (v + j) * np.float32(b)
                for a, b in zip(self.first, self.second, strict=True)
            ]
            away_row, away_col = down - there[0], right - there[1]
            square = away_row**2 + away_col**2
            closer = square < best
            best[closer] = square[closer]
            for kept, new in zip((*offset, *index), (away_row, away_col, u + i, v + j), strict=True):
                kept[closer] = new[closer]
        return offset[0], offset[1], index


def array(view: View, shape: str, sunk: bool) -> Drawing:
    """Pillars, domes or holes on a lattice; some specimens are tilted, and a few features may be missing."""
    unit, specimen = view.unit, view.specimen
    pitch = float(np.exp(specimen.uniform(np.log(22), np.log(105))))
    symmetry = str(specimen.choice(["square", "hexagonal", "rectangular"], p=[0.42, 0.43, 0.15]))
    fill = specimen.uniform(0.4, 0.72)
    tilt = float(specimen.uniform(25, 48)) if specimen.random() < (0.25 if sunk else 0.5) else 0.0
    tall = specimen.uniform(0.25, 0.8) * pitch * unit
    wall = specimen.uniform(0.03, 0.14) * pitch * unit
    stage = Stage(view, tilt, tall)
    lattice = _lattice(view, symmetry, pitch * unit, float(specimen.uniform(1.25, 1.7)))
    away_row, away_col, index = lattice.nearest(stage.shape)
    radius = fill * pitch * unit / 2
    inside = _outline(shape, lattice, away_row, away_col, radius)
    which = _number(index)
    present = view.place.random(int(which.max()) + 1) >= specimen.choice([0.0, 0.0, 0.01, 0.04])
    inside = np.where(present[which], inside, np.float32(-pitch * unit))
    plane = Scene.flat(stage.shape, specimen.uniform(0.3, 0.5))
    ground, feature = specimen.permutation([0.38, 0.55])
    if shape == "dome":
        plane.height = 0.8 * np.sqrt(np.maximum(radius**2 - (radius - np.maximum(inside, 0)) ** 2, 0))
    else:
        plane.height = step(inside, -tall if sunk else tall, max(1.0, wall))
    on = inside > 0
    plane.tone[:] = np.where(on, ground if sunk else feature, ground)
    plane.label = np.where(on, which + 1, 0).astype(np.int32)
    _grain(plane, view)
    return _finish(plane, stage, lattice, 2 * radius, present)


def _lattice(view: View, symmetry: str, pitch: float, stretch: float) -> Lattice:
    turn = np.deg2rad(view.specimen.choice([0.0, 0.0, 15.0, 30.0, 45.0]) + view.specimen.normal(0, 2))
    opening = np.deg2rad(ANGLES[symmetry])
    longer = pitch * (stretch if symmetry == "rectangular" else 1.0)
    first = pitch * np.array([-np.sin(turn), np.cos(turn)])
    second = longer * np.array([-np.sin(turn + opening), np.cos(turn + opening)])
    return Lattice(symmetry, first, second, view.place.uniform(0, pitch, 2))


def _outline(shape: str, lattice: Lattice, away_row: Array, away_col: Array, radius: float) -> Array:
    """Signed distance from the edge of a round or square feature."""
    if shape == "square":
        along = lattice.first / np.linalg.norm(lattice.first)
        first = np.abs(away_row * np.float32(along[0]) + away_col * np.float32(along[1]))
        second = np.abs(away_row * np.float32(along[1]) - away_col * np.float32(along[0]))
        return np.asarray(np.float32(radius) - np.maximum(first, second), np.float32)
    return np.asarray(np.float32(radius) - np.hypot(away_row, away_col), np.float32)


def _number(index: NDArray[np.int32]) -> NDArray[np.int64]:
    """One number for each pair of lattice indices, the same at every image size."""
    first, second = (index[k] - index[k].min() for k in (0, 1))
    return np.asarray(first.astype(np.int64) * (int(second.max()) + 1) + second)


def _grain(plane: Scene, view: View) -> None:
    amplitude = view.specimen.uniform(0.03, 0.25) * view.unit
    plane.height += rough(plane.shape, view.grain, 0.4, 20 * view.unit, 2.5) * np.float32(amplitude)
    plane.height = soften(plane.height, 0.5)
    plane.tone *= 1 + 0.04 * rough(plane.shape, view.grain, 1.2)


def _finish(plane: Scene, stage: Stage, lattice: Lattice, size: float, present: NDArray[np.bool_]) -> Drawing:
    view = stage.view
    scene = tilted(plane, stage)
    squash = np.array([np.cos(np.deg2rad(stage.tilt_deg)), 1.0])
    quantities = length("pitch", float(np.linalg.norm(lattice.first)), view.pixel_size_nm)
    quantities |= length("feature_diameter", size, view.pixel_size_nm)
    quantities |= _vectors(lattice.first * squash, lattice.second * squash)
    quantities |= degrees("tilt_deg", stage.tilt_deg)
    angle = np.rad2deg(np.arctan2(-lattice.first[0], lattice.first[1])) % 180
    quantities |= degrees("orientation_deg", float(angle))
    scene.mark(scene.label)
    objects = scene.objects()
    quantities |= count("count", len(objects))
    if stage.tilt_deg == 0:
        quantities |= percent("area_fraction", float((scene.label > 0).mean()))
    words = {"symmetry": lattice.symmetry, "missing features": "yes" if not present.all() else "no"}
    return scene, Truth(variety=view.variety, quantities=quantities, words=words, objects=objects)


def _vectors(first: NDArray[np.float64], second: NDArray[np.float64]) -> dict[str, Quantity]:
    """The lattice vectors as they lie in the picture, foreshortened where it is tilted."""
    return {
        f"lattice_{name}_{part}_px": Quantity(value=float(value), unit="px")
        for name, vector in (("a", first), ("b", second))
        for part, value in zip(("row", "col"), vector, strict=True)
    }


def grating(view: View) -> Drawing:
    """Parallel lines and spaces with rough edges, as in resist or a diffraction grating."""
    unit, specimen = view.unit, view.specimen
    pitch = float(np.exp(specimen.uniform(np.log(16), np.log(90))))
    duty, tall = specimen.uniform(0.3, 0.65), specimen.uniform(0.2, 0.7) * pitch * unit
    tilt = float(specimen.uniform(20, 45)) if specimen.random() < 0.35 else 0.0
    turn = float(specimen.choice([0.0, 90.0, 90.0, 90.0, 45.0]) + specimen.normal(0, 3)) % 180
    stage = Stage(view, tilt, tall)
    across, _ = stage.frame(turn)
    across = across + np.float32(view.place.uniform(0, pitch) * unit)
    number = np.floor(across / np.float32(pitch * unit))
    offset = np.abs(across - (number + 0.5) * np.float32(pitch * unit))
    edges = rough(stage.shape, view.grain, 0.4, 60 * unit, 3) * np.float32(
        specimen.uniform(0.0, 0.05) * pitch * unit
    )
    inside = np.float32(duty * pitch * unit / 2) - offset + edges
    plane = Scene.flat(stage.shape, 0.4)
    plane.height = step(inside, tall, max(1.0, specimen.uniform(0.02, 0.1) * pitch * unit))
    ground, feature = specimen.permutation([0.36, 0.55])
    plane.tone[:] = np.where(inside > 0, feature, ground)
    plane.label = np.where(inside > 0, number - number.min() + 1, 0).astype(np.int32)
    _grain(plane, view)
    scene = tilted(plane, stage)
    angle = np.deg2rad(turn)
    normal = np.array([np.cos(angle) / np.cos(np.deg2rad(tilt)), np.sin(angle)]) / (pitch * unit)
    seen_pitch = 1 / float(np.linalg.norm(normal))
    quantities = length("pitch", pitch * unit, view.pixel_size_nm)
    quantities |= length("line_width", duty * pitch * unit, view.pixel_size_nm)
    quantities["projected_pitch_px"] = Quantity(value=seen_pitch, unit="px")
    quantities |= degrees("orientation_deg", turn) | degrees("tilt_deg", tilt)
    scene.mark(scene.label)
    objects = scene.objects()
    quantities |= count("count", len(objects))
    if tilt == 0:
        quantities |= percent("area_fraction", float((scene.label > 0).mean()))
    return scene, Truth(
        variety=view.variety, quantities=quantities, words={"symmetry": "lines"}, objects=objects
    )


def _array(name: str, shape: str, sunk: bool, weight: float) -> Variety:
    return Variety(name, partial(array, shape=shape, sunk=sunk), 1.5, 120, weight)


PATTERNS = (
    _array("an array of round pillars", "round", False, 1.2),
    _array("an array of square pillars", "square", False, 0.8),
    _array("an array of round holes", "round", True, 1.2),
    _array("an array of square holes", "square", True, 0.6),
    _array("an array of domes", "dome", False, 0.8),
    Variety("a line grating", grating, 0.8, 60, 1.2),
)
