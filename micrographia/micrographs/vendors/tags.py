"""Raw tags of a header, asked for by name; what was asked for and could not be had is kept as a list."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from micrographia.micrographs.lengths import parse_length
from micrographia.records import Instrument, Quantity, ScaleReading, Stage

Source = Literal["vendor tag", "sidecar"]

LARGEST_PIXEL_NM, SMALLEST_PIXEL_NM = 1e8, 1e-4
"""A pixel of 10 cm or of a ten-thousandth of a nanometre is no micrograph's: the tag means something else."""

SQUARE = 0.01
"""Pixels whose sides differ by more than this part of each other are not square; less is an uncertainty."""

_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class HeaderReading:
    """What one header, or the text file beside the image, says of how the image was taken."""

    dialect: str
    """Whose words they are: "FEI / Thermo Fisher", "Zeiss" ..."""
    readings: tuple[ScaleReading, ...] = ()
    instrument: Instrument = field(default_factory=Instrument)
    tags: Mapping[str, str] = field(default_factory=dict)
    """Every tag as it was written."""
    missing: tuple[str, ...] = ()
    """What the header does not tell, or tells in a way that cannot be trusted, each with the reason."""
    databar_rows: int | None = None
    """Rows at the bottom of the image that are its databar; None where the header does not say."""


class Tags:
    """Tags by name. Asking for what is not there, or makes no sense, adds a line to ``missing``."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values
        self.missing: list[str] = []

    def text(self, *names: str) -> str | None:
        """The first of ``names`` that says something; nothing is missed."""
        return next((words for name in names if (words := self.values.get(name, "").strip())), None)

    def number(self, what: str, *names: str) -> float | None:
        """``what`` as the first of ``names`` that is there tells it, whatever unit or sign stands behind."""
        found = self._found(what, *names)
        if found is None:
            return None
        name, words = found
        if re.match(r"[1-9]\d{0,2},\d{3}(?!\d)", words):
            self.miss(what, f"{name} is {words!r}, whose comma may part thousands or decimals")
            return None
        match = _NUMBER.match(words)
        number = float(match[0].replace(",", ".")) if match else math.nan
        if not math.isfinite(number):
            self.miss(what, f"{name} is {words!r}, no number")
            return None
        return number

    def positive(self, what: str, *names: str) -> float | None:
        """As ``number``; zero and less are missed too, for they are how "not known" is written."""
        number = self.number(what, *names)
        if number is not None and number <= 0:
            self.miss(what, f"{' or '.join(names)} is {number:g}")
            return None
        return number

    def length_nm(self, what: str, *names: str) -> float | None:
        """A length that is written with its unit, in nanometres."""
        found = self._found(what, *names)
        if found is None:
            return None
        length = parse_length(found[1])
        if length is None or not length > 0:
            self.miss(what, f"{found[0]} is {found[1]!r}, no length")
            return None
        return length

    def moment(self, form: str, *names: str) -> str | None:
        """The date and time that ``names`` tell together, by ``strptime``'s ``form``, as ISO 8601.

        Makers write one date with hyphens or strokes, from model to model.
        """
        words = " ".join(self.text(name) or "" for name in names).strip()
        try:
            return datetime.strptime(words.replace("-", "/"), form.replace("-", "/")).isoformat()
        except ValueError:
            self.miss("date", f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} {words!r}")
            return None

    def stage(self, **places: tuple[str, float, str]) -> Stage | None:
        """The stage's coordinates, each by its tag, the factor to its unit, and the unit."""
        return stage(
            **{
                axis: quantity(self.number(f"stage {axis}", name), factor, unit)
                for axis, (name, factor, unit) in places.items()
            }
        )

    def miss(self, what: str, reason: str) -> None:
        """Say that ``what`` could not be had, and why."""
        self.missing.append(f"{what}: {reason}")

    def _found(self, what: str, *names: str) -> tuple[str, str] | None:
        for name in names:
            if words := self.values.get(name, "").strip():
                return name, words
        self.miss(what, f"there is no {' or '.join(names)}")
        return None


def pixel_reading(
    tags: Tags,
    source: Source,
    across_nm: float | None,
    down_nm: float | None,
    detail: str,
    relative_uncertainty: float = 0.001,
) -> tuple[ScaleReading, ...]:
    """A pixel's width and height as a reading; none, and missed, where they cannot be a micrograph's."""
    if across_nm is None:
        return ()
    down_nm = across_nm if down_nm is None else down_nm
    for side in (across_nm, down_nm):
        if not SMALLEST_PIXEL_NM <= side <= LARGEST_PIXEL_NM:
            tags.miss("pixel size", f"{detail} gives {side:g} nm, which no micrograph has")
            return ()
    apart = abs(across_nm / down_nm - 1)
    square = apart <= SQUARE
    return (
        ScaleReading(
            source=source,
            pixel_size_nm=across_nm,
            pixel_height_nm=None if square else down_nm,
            relative_uncertainty=max(relative_uncertainty, apart) if square else relative_uncertainty,
            detail=detail,
        ),
    )


def quantity(value: float | None, factor: float, unit: str) -> Quantity | None:
    """``value`` times ``factor`` in ``unit``, rounded far below what any instrument resolves."""
    return None if value is None else Quantity(value=float(f"{value * factor:.9g}"), unit=unit)


def stage(**places: Quantity | None) -> Stage | None:
    """The coordinates of the stage that are known; None where none is."""
    return Stage(**places) if any(place is not None for place in places.values()) else None


def ini(text: str, separator: str = "=") -> dict[str, str]:
    """``name=value`` lines; below a ``[section]`` named ``[section] name``. The last of twins counts."""
    found: dict[str, str] = {}
    section = ""
    for line in text.replace("\0", "").splitlines():
        words = line.strip()
        if words.startswith("[") and words.endswith("]"):
            section = words + " "
            continue
        name, found_separator, value = words.partition(separator)
        if found_separator and name.strip():
            found[section + name.strip()] = value.strip()
    return found
