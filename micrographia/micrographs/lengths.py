"""Lengths as instruments print them, in nanometres: the one place that knows the units."""

from __future__ import annotations

import re
import unicodedata

from micrographia.records import Quantity

NANOMETRES = {
    "pm": 1e-3,
    "å": 0.1,
    "a": 0.1,
    "angstrom": 0.1,
    "nm": 1.0,
    "µm": 1e3,
    "um": 1e3,
    "micron": 1e3,
    "microns": 1e3,
    "micrometer": 1e3,
    "mm": 1e6,
    "cm": 1e7,
    "m": 1e9,
}
"""By unit in small letters; µ stands for the micro sign and for the Greek mu."""

_LENGTH = re.compile(r"\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*([A-Za-zµÅ]+)\s*")


def plain(words: str) -> str:
    """One code point a letter: the Greek mu becomes the micro sign, the Angstrom sign the letter Å."""
    return unicodedata.normalize("NFC", words).replace("\u03bc", "µ")


def nanometres(unit: str) -> float | None:
    """How many nanometres one ``unit`` is; None where it is no length (1/nm, eV, a letter of its own)."""
    return NANOMETRES.get(plain(unit).strip().lower())


def parse_length(text: str) -> float | None:
    """The nanometres of "5.860 nm", "2.8 mm", "7706.35 um"; None where ``text`` is no number with a unit."""
    found = _LENGTH.fullmatch(plain(text))
    size = nanometres(found[2]) if found else None
    return None if found is None or size is None else float(found[1]) * size


def printed_length(nanometres: float) -> str:
    """A length with three significant digits in nm, µm or mm."""
    unit, size = printed_unit(nanometres)
    return f"{float(f'{nanometres / size:.3g}'):g} {unit}"


def printed_unit(nanometres: float) -> tuple[str, float]:
    """The unit in which a length is printed with less than 1000 of it, and its nanometres."""
    for unit, size in (("nm", 1.0), ("µm", 1e3), ("mm", 1e6)):
        if float(f"{nanometres / size:.3g}") < 1000 or unit == "mm":
            return unit, size
    raise AssertionError("unreachable: mm takes any length")


def printed_quantity(quantity: Quantity) -> tuple[str, str]:
    """Value and interval with as many digits as mean something, lengths in nm, µm or mm."""
    ends = (quantity.low, quantity.high)
    low, high = ("" if end is None else printed_value(end, quantity.unit) for end in ends)
    return printed_value(quantity.value, quantity.unit), f"{low} to {high}" if low and high else ""


def printed_value(value: float, unit: str) -> str:
    """Three significant digits with the unit; of nanometres, in nm, µm or mm."""
    return printed_length(value) if unit == "nm" else f"{float(f'{value:.3g}'):g} {unit}".strip()
