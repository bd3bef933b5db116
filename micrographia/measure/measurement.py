"""What makes a function of a view a measurement: its name, unit, definition, and when it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from micrographia.measure.view import View
from micrographia.records import Measurement, Quantity

METHOD_VERSION = "3"
"""Raised whenever any definition changes; two values compare only where it is the same."""

SMALLEST_DEVIATION = 0.5
"""Standard deviation of grey, in grey levels, below which an image counts as constant."""


class Inapplicable(Exception):
    """Raised inside a definition: the number does not exist for this image, and why."""


@dataclass(frozen=True)
class Definition:
    """A measurement: called with a view, it gives the record."""

    name: str
    unit: str
    method: str
    value_of: Callable[[View], float]
    of_constant: bool
    """Whether an image of one grey value has it."""

    def __call__(self, view: View) -> Measurement:
        """The measurement of ``view``; refused where it does not apply."""
        if not self.of_constant and view.grey.std() < SMALLEST_DEVIATION:
            return self.refused("all pixels have the same grey value")
        try:
            quantity = Quantity(value=float(self.value_of(view)), unit=self.unit)
        except Inapplicable as reason:
            return self.refused(str(reason))
        return Measurement(name=self.name, quantity=quantity, method=self.method)

    def refused(self, reason: str) -> Measurement:
        """The record that says why there is no number."""
        return refused({self.name: self.method}, reason)[0]


def refused(methods: Mapping[str, str], reason: str) -> tuple[Measurement, ...]:
    """Records of measurements, by name with their definitions, that ``reason`` keeps from a number."""
    return tuple(
        Measurement(name=name, quantity=None, method=method, refused=reason)
        for name, method in methods.items()
    )


def measurement(
    name: str, unit: str, method: str, *, of_constant: bool = False
) -> Callable[[Callable[[View], float]], Definition]:
    """Make a function ``view -> number``, which may raise Inapplicable, a Definition."""

    def define(value_of: Callable[[View], float]) -> Definition:
        return Definition(name, unit, f"{method} (version {METHOD_VERSION})", value_of, of_constant)

    return define
