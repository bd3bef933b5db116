"""From numbers to words: the ordered levels of what is measured, with their fixed thresholds.

The thresholds are round numbers that part micrographs of many kinds (steel surfaces, textures, fibres and
micrographs from the literature) into groups of useful size. They are the same for every class and data set;
``docs/teach.md`` shows how the levels fall.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple


class Levels(NamedTuple):
    """A subject, the measurement it is read from, and its levels from low to high."""

    measurement: str
    thresholds: tuple[float, ...]
    """A value equal to a threshold belongs to the level above it."""
    values: tuple[str, ...]

    def level(self, number: float) -> str:
        """The level of a measured number."""
        return self.values[bisect_right(self.thresholds, number)]


LEVELS: dict[str, Levels] = {
    "brightness": Levels("brightness", (40, 60), ("dark", "medium", "bright")),
    "contrast": Levels("contrast", (20, 40), ("low", "moderate", "high")),
    "tone balance": Levels("dark area", (35, 65), ("mostly bright", "balanced", "mostly dark")),
    "shading": Levels("shading", (10, 25), ("even", "slight", "strong")),
    "evenness": Levels("unevenness", (0.2, 0.4), ("even", "fairly even", "uneven")),
    "texture scale": Levels("fine share", (25, 50), ("coarse", "medium", "fine")),
    "relief": Levels("relief", (2.5, 6), ("smooth", "moderate", "rough")),
    "sharpness": Levels("sharpness", (0.7, 0.8), ("soft", "moderate", "sharp")),
    "alignment": Levels("coherence", (0.15, 0.45), ("isotropic", "weak", "strong")),
    "dark spots": Levels("dark spots", (5, 20), ("few or none", "several", "many")),
    "bright spots": Levels("bright spots", (5, 20), ("few or none", "several", "many")),
    "lines": Levels("line area", (0.2, 2), ("none", "few", "many")),
}

DIRECTIONS = ("horizontal", "rising diagonal", "vertical", "falling diagonal")
"""At 0, 45, 90 and 135 degrees counter-clockwise from horizontal; diagonals are read from the left."""


def direction_at(angle: float) -> str:
    """The nearest of DIRECTIONS to an axial angle in degrees counter-clockwise from horizontal."""
    return DIRECTIONS[round(angle / 45) % 4]


def turned_angle(angle: float, quarter_turns: int, mirrored: bool) -> float:
    """An axial angle, degrees, after mirroring left-right, then turning counter-clockwise."""
    return ((-angle if mirrored else angle) + 90 * quarter_turns) % 180
