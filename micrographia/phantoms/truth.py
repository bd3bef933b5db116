"""What is exactly true of a drawn micrograph: the numbers, words and objects that went into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from micrographia.records import Instrument, Quantity, Record

DISPLAY_WIDTH_MM = 127.0
"""Magnification is this width over the field width: the long side of a 4x5-inch print, as is usual."""


class ObjectTruth(Record):
    """One drawn object, by its label in the instance mask."""

    label: int
    equivalent_diameter_px: float
    """Diameter of the disc with the area of its whole outline, hidden and cut-off parts included.

    Spines, beads and droplets that sit on it are left out, though they carry its label.
    """
    visible_px: int
    whole: bool
    """Nothing of it is hidden by another object or cut by the edge of the field."""
    width_px: float | None = None
    """Of a fibre or wire: its mean width across as seen from above, within the field; None for others."""


class Truth(Record):
    """Numbers by name, words by name, and the objects of the instance mask.

    A length stands twice: ``pitch_px`` in pixels of this image and ``pitch_nm`` on the specimen. Directions
    are degrees counter-clockwise from the direction of growing columns; those of lines lie in [0, 180).
    """

    variety: str
    """What is drawn within the category: "woven cloth", "comb drive" ..."""
    quantities: dict[str, Quantity]
    words: dict[str, str] = Field(default_factory=dict)
    objects: tuple[ObjectTruth, ...] = ()


class DatabarTruth(Record):
    """Where the databar is and what it says. Rows and columns are pixels of the whole image."""

    style: str
    top: int
    """Its first row; it reaches from there to the bottom over the full width."""
    bar_row: int
    bar_left: int
    """Column of the scale bar's left tick, on ``bar_row``; the right one is ``bar_px`` columns farther."""
    bar_px: int
    bar_nm: float
    label: str
    """As printed beside the bar."""
    fields: dict[str, str]
    """Every other text, by its heading."""


@dataclass(frozen=True)
class Phantom:
    """A drawn micrograph and everything that is true of it."""

    image: NDArray[np.uint8]
    """(rows, columns), databar included."""
    category: str
    seed: int
    specimen: int
    """Images of one specimen share its style and its material."""
    pixel_size_nm: float
    truth: Truth
    instances: NDArray[np.int32] | None
    """(rows, columns), 0 where no object is; None where the category has no separate objects."""
    databar: DatabarTruth | None
    instrument: Instrument

    @property
    def field(self) -> NDArray[np.uint8]:
        """The image without its databar."""
        return self.image if self.databar is None else self.image[: self.databar.top]

    @property
    def caption(self) -> str:
        """One sentence a microscopist would put under it; every word of it is in the truth."""
        width = self.pixel_size_nm * self.image.shape[1]
        volts = self.instrument.accelerating_voltage
        kv = f" at {volts.value:g} kV" if volts is not None else ""
        return f"SEM micrograph of {self.truth.variety}, field width {length_label(width)}{kv}."


def length_label(nanometres: float) -> str:
    """A length with three significant figures in the unit that microscopists would print."""
    for factor, unit in ((1e6, "mm"), (1e3, "µm")):
        if nanometres >= factor:
            return f"{float(f'{nanometres / factor:.3g}'):g} {unit}"
    return f"{float(f'{nanometres:.3g}'):g} nm"


def length(name: str, pixels: float, pixel_size_nm: float, n: int | None = None) -> dict[str, Quantity]:
    """``name_px`` and ``name_nm`` of one length."""
    return {
        f"{name}_px": Quantity(value=float(pixels), unit="px", n=n),
        f"{name}_nm": Quantity(value=float(pixels * pixel_size_nm), unit="nm", n=n),
    }


def lengths(name: str, pixels: NDArray[np.floating], pixel_size_nm: float) -> dict[str, Quantity]:
    """Mean and population standard deviation of many lengths, in px and nm."""
    if pixels.size == 0:
        return {}
    mean = length(f"{name}_mean", float(pixels.mean()), pixel_size_nm, pixels.size)
    return mean | length(f"{name}_sd", float(pixels.std()), pixel_size_nm, pixels.size)


def count(name: str, number: int) -> dict[str, Quantity]:
    """A number of things."""
    return {name: Quantity(value=float(number))}


def percent(name: str, fraction: float) -> dict[str, Quantity]:
    """A fraction, in percent."""
    return {name: Quantity(value=100 * float(fraction), unit="%")}


def degrees(name: str, angle: float) -> dict[str, Quantity]:
    """An angle, in degrees."""
    return {name: Quantity(value=float(angle), unit="°")}


def directions(
    angles_deg: NDArray[np.floating], weights: NDArray[np.floating] | None = None
) -> dict[str, Quantity]:
    """Mean direction and order parameter of lines, which have no head and no tail.

    With θ doubled, the resultant of unit vectors has the argument 2·mean and the length S: 0 for directions
    spread evenly, 1 for parallel lines (Mardia and Jupp, Directional Statistics, 2000, section 9.4).
    """
    if len(angles_deg) == 0:
        return {}
    resultant = np.average(np.exp(2j * np.deg2rad(angles_deg)), weights=weights)
    mean = np.rad2deg(np.angle(resultant)) / 2 % 180
    order = Quantity(value=float(abs(resultant)), n=len(angles_deg))
    return degrees("orientation_deg", float(mean)) | {"order_parameter": order}
