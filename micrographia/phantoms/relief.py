"""Structures made by lithography: plateaus with sloping walls, and how they look on a tilted stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from micrographia.phantoms.fields import Array, rough
from micrographia.phantoms.scene import Scene, View

Coordinates = tuple[Array, Array]


@dataclass(frozen=True)
class Stage:
    """The plane of the specimen behind a field that is seen at a tilt about the column axis."""

    view: View
    tilt_deg: float
    relief_px: float
    """Highest minus lowest point of what will be drawn."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the specimen plane that the field may show."""
        rows, cols = self.view.shape
        sine, cosine = np.sin(np.deg2rad(self.tilt_deg)), np.cos(np.deg2rad(self.tilt_deg))
        return int(np.ceil((rows + self.relief_px * sine) / cosine)) + 2, cols

    def frame(self, turn_deg: float, origin: tuple[float, float] | None = None) -> Coordinates:
        """(across, along) coordinates in pixels of the specimen plane about ``origin`` (its middle).

        ``along`` grows in the direction ``turn_deg``, counter-clockwise from growing columns; ``across``
        grows 90° clockwise of it, that is downwards for no turn.
        """
        rows, cols = np.indices(self.shape, dtype=np.float32)
        middle = origin or (self.shape[0] / 2, self.shape[1] / 2)
        rows, cols = rows - np.float32(middle[0]), cols - np.float32(middle[1])
        s, c = np.float32(np.sin(np.deg2rad(turn_deg))), np.float32(np.cos(np.deg2rad(turn_deg)))
        return rows * c + cols * s, cols * c - rows * s


def step(inside_px: Array, height: float, wall_px: float = 1.0) -> Array:
    """A plateau ``height`` above 0 where the signed distance is positive, with walls ``wall_px`` wide."""
    return np.asarray(height * np.clip(inside_px / np.float32(max(wall_px, 1e-3)) + 0.5, 0, 1), np.float32)


def box(at: Coordinates, across: tuple[float, float], along: tuple[float, float]) -> Array:
    """Signed distance (positive inside, city-block outside) from a rectangle given by its limits."""
    sides = [at[0] - np.float32(across[0]), np.float32(across[1]) - at[0]]
    sides += [at[1] - np.float32(along[0]), np.float32(along[1]) - at[1]]
    return np.asarray(np.minimum.reduce(sides))


def tilted(plane: Scene, stage: Stage) -> Scene:
    """The scene of a specimen plane as it is seen along the beam when its lower edge is turned up.

    Rays of one row of the picture meet the same rows of the plane at the same height, so they are followed
    downwards together; the height of the result is the nearness to the observer.
    """
    if stage.tilt_deg == 0:
        rows = slice(0, stage.view.shape[0])
        return Scene(plane.height[rows], plane.tone[rows], plane.label[rows])
    sine, cosine = (np.float32(f(np.deg2rad(stage.tilt_deg))) for f in (np.sin, np.cos))
    lowest, highest = float(plane.height.min()), float(plane.height.max())
    surface = plane.height - np.float32(lowest)
    shape = stage.view.shape
    picture_row = np.arange(shape[0], dtype=np.float32)
    hit_level = np.zeros(shape, np.float32)
    open_ray = np.ones(shape, bool)
    steps = max(2, int((highest - lowest) * sine / cosine) + 2)
    levels = np.linspace(highest - lowest, 0, steps, dtype=np.float32)
    gap_before = np.zeros(shape, np.float32)
    for k, level in enumerate(levels):
        gap = level - _at_rows(surface, (picture_row + level * sine) / cosine)
        met = open_ray & (gap <= 0) if k + 1 < steps else open_ray
        if k:
            share = gap_before / np.maximum(gap_before - gap, 1e-6)
            hit = levels[k - 1] + np.clip(share, 0, 1) * (level - levels[k - 1])
            hit_level[met] = hit[met]
        else:
            hit_level[met] = level
        open_ray &= ~met
        gap_before = gap
    row = (picture_row[:, None] + hit_level * sine) / cosine
    near = np.clip(np.rint(row), 0, plane.shape[0] - 1).astype(np.intp)
    nearness = row * sine + hit_level * cosine
    return Scene(
        nearness.astype(np.float32),
        np.take_along_axis(plane.tone, near, 0),
        np.take_along_axis(plane.label, near, 0),
    )


def _at_rows(surface: Array, row: Array) -> Array:
    row = np.clip(row, 0, surface.shape[0] - 1.001)
    upper = row.astype(np.intp)
    part = (row - upper)[:, None]
    return np.asarray(surface[upper] * (1 - part) + surface[upper + 1] * part, np.float32)


def wall_marks(scene: Scene, stage: Stage, flat: Array, strength: float) -> None:
    """Striations down the etched walls: tone that varies from column to column where the relief is steep."""
    columns = rough((4, scene.shape[1]), stage.view.grain, 0.0, 12 * stage.view.unit, 2)[0]
    slope = np.abs(np.gradient(flat, axis=0))
    scene.tone *= np.where(slope > 0.5, 1 + np.float32(strength) * columns[None], 1).astype(np.float32)
