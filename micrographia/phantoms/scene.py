"""A specimen seen from above: a height map with tone and labels, into which solid shapes are set by depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micrographia.phantoms.fields import Array
from micrographia.phantoms.truth import ObjectTruth, Truth

Solid = Callable[[Array, Array], Array]
"""Height of a solid's upper surface over (row, column) offsets from its centre; -inf beside it."""


@dataclass(frozen=True)
class View:
    """The frame of one picture: what a family of shapes needs to know to draw into it."""

    variety: str
    shape: tuple[int, int]
    unit: float
    """Pixels per design unit. At the specimen's own magnification the field is 512 units wide."""
    pixel_size_nm: float
    specimen: np.random.Generator
    """Draws what all images of one specimen have in common."""
    place: np.random.Generator
    """Draws where things lie in this image."""
    grain: np.random.Generator
    """Draws fine texture; apart, so that the same things lie in the same places at every image size."""

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width of the field in design units."""
        return self.shape[0] / self.unit, self.shape[1] / self.unit


@dataclass
class Scene:
    """Height in pixels, tone (secondary-electron yield of the flat material) and object labels."""

    height: Array
    tone: Array
    label: NDArray[np.int32]
    footprint: dict[int, float] = field(default_factory=dict)
    """Area in pixels of each labelled object's whole outline."""
    drawn: dict[int, int] = field(default_factory=dict)
    """Pixels of it that were visible when it was drawn."""
    cut: set[int] = field(default_factory=set)
    """Labels that reach the edge of the field, or were half hidden from the start."""

    @classmethod
    def flat(cls, shape: tuple[int, int], tone: float = 0.4) -> Scene:
        """An even plane at height 0."""
        return cls(np.zeros(shape, np.float32), np.full(shape, tone, np.float32), np.zeros(shape, np.int32))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.height.shape[0], self.height.shape[1]

    def new_label(self) -> int:
        """The next free label."""
        return len(self.footprint) + 1

    def put(
        self, solid: Solid, centre: tuple[float, float], reach: float, z: float, tone: float, label: int = 0
    ) -> bool:
        """Set a solid with its origin at ``z``; it hides what is lower. Says whether any of it shows.

        A label that is set again gains parts (spines on a grain), which do not count in its outline, and is
        not counted as whole.
        """
        row, col = centre
        top, left = int(np.floor(row - reach)), int(np.floor(col - reach))
        side = int(np.ceil(2 * reach)) + 2
        rows = np.arange(top, top + side, dtype=np.float32)[:, None]
        cols = np.arange(left, left + side, dtype=np.float32)[None]
        height = solid(rows - np.float32(row), cols - np.float32(col)) + np.float32(z)
        r0, c0 = max(top, 0), max(left, 0)
        r1, c1 = min(top + side, self.shape[0]), min(left + side, self.shape[1])
        if r0 >= r1 or c0 >= c1:
            return False
        inside = np.isfinite(height)
        here = (slice(r0, r1), slice(c0, c1))
        height_here = height[r0 - top : r1 - top, c0 - left : c1 - left]
        seen = height_here > self.height[here]
        self.height[here][seen] = height_here[seen]
        self.tone[here][seen] = tone
        self.label[here][seen] = label
        if label:
            within, shown = int(np.isfinite(height_here).sum()), int(seen.sum())
            self.remember(label, int(inside.sum()), shown, hidden=shown < within or within < inside.sum())
        return bool(seen.any())

    def remember(self, label: int, area: float, shown: int, hidden: bool) -> None:
        """Note that ``shown`` of the ``area`` pixels of an object or of a part of it are in view."""
        if hidden or label in self.footprint:
            self.cut.add(label)
        self.footprint.setdefault(label, float(area))
        self.drawn[label] = self.drawn.get(label, 0) + shown

    def mark(self, label: NDArray[np.integer[Any]]) -> None:
        """Take the objects from a label image (rows, columns): all of an object that is not cut is seen."""
        self.label = label.astype(np.int32)
        sizes = np.bincount(self.label.ravel())
        numbers = [int(k) for k in np.flatnonzero(sizes) if k]
        self.footprint = dict.fromkeys(range(1, sizes.size), 0.0) | {k: float(sizes[k]) for k in numbers}
        self.drawn = {k: int(sizes[k]) for k in numbers}
        edge = np.concatenate([self.label[0], self.label[-1], self.label[:, 0], self.label[:, -1]])
        self.cut = set(np.unique(edge).tolist())

    def objects(self, smallest_px: int = 6) -> tuple[ObjectTruth, ...]:
        """The objects still visible; those with fewer than ``smallest_px`` pixels lose their label.

        Call it once, when all is drawn: labels are renumbered 1, 2, ... without gaps.
        """
        visible = np.bincount(self.label.ravel(), minlength=self.new_label())
        kept = [label for label in self.footprint if visible[label] >= smallest_px]
        renumber = np.zeros(len(visible), np.int32)
        renumber[kept] = np.arange(1, len(kept) + 1)
        self.label[:] = renumber[self.label]
        return tuple(
            ObjectTruth(
                label=new,
                equivalent_diameter_px=float(np.sqrt(4 / np.pi * self.footprint[old])),
                visible_px=int(visible[old]),
                whole=old not in self.cut and visible[old] == self.drawn[old],
            )
            for new, old in enumerate(kept, start=1)
        )


def random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """A rotation matrix drawn evenly from all (a random unit quaternion: Shoemake, 1992)."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


Drawing = tuple[Scene, Truth]
"""What a variety draws: the specimen as seen, and what is true of it."""


@dataclass(frozen=True)
class Variety:
    """One kind of specimen within a category."""

    name: str
    draw: Callable[[View], Drawing]
    narrowest_um: float
    widest_um: float
    """Specimens of it are looked at with reference field widths between these, evenly in the logarithm."""
    weight: float = 1.0
    """How often it is drawn, relative to the others of its category."""
