"""What can be measured on one field, each with its number and interval, or with why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from micrographia.measure.cracks import find_cracks, measure_cracks
from micrographia.measure.fibres import Widths, find_widths, measure_fibres
from micrographia.measure.grains import measure_grains
from micrographia.measure.particles import Particles, measure_particles
from micrographia.measure.pattern import measure_pattern
from micrographia.measure.pores import measure_pores
from micrographia.measure.quality import measure_quality
from micrographia.measure.segment import TRUSTED, Method, Segmentation, segment
from micrographia.measure.segment.classical import dark_side
from micrographia.micrographs.display import grey_of, luma
from micrographia.records import Box, Measurement

Kind = Literal["particles", "fibres", "pattern", "pores", "grains", "cracks", "quality"]
KINDS: tuple[Kind, ...] = get_args(Kind)
BY_ITSELF: tuple[Kind, ...] = ("particles", "fibres", "pattern", "quality")
"""Kinds that know when they do not apply. Of the others a person has to say that there are some."""
OF_SIZE: tuple[Kind, ...] = ("particles", "fibres", "pattern")
"""Kinds whose numbers are taught and told when somebody asks how large things are."""
SIZES_VERSION = "sizes 2"
"""Raised whenever a definition of them or the network behind them changes."""


@dataclass(frozen=True)
class Measured:
    """The measurements of one field, and the particles and fibres they are of, for drawing."""

    measurements: tuple[Measurement, ...]
    segmentation: Segmentation | None = None
    particles: Particles | None = None
    widths: Widths | None = None

    @property
    def outlined(self) -> Particles | None:
        """The particles where their outlines are to be trusted."""
        return self.particles if self.segmentation and self.segmentation.trusted else None

    @property
    def crossed(self) -> Widths | None:
        """The widths across fibres where they were told."""
        return self.widths if self.widths and not self.widths.refusal else None


def measure_field(
    field: NDArray[np.uint8],
    pixel_nm: float | None,
    kinds: tuple[Kind, ...] = BY_ITSELF,
    method: Method = "auto",
    burnt_in: Sequence[Box] = (),
) -> Measured:
    """Measure ``field``, (rows, columns) or (rows, columns, 3); ``pixel_nm`` is None without a scale."""
    grey = luma(field)
    whole = grey_of(field)
    segmentation = segment(whole, method) if {"particles", "grains"} & set(kinds) else None
    particles = None if segmentation is None else Particles(segmentation.labels, pixel_nm, burnt_in)
    widths = find_widths(whole) if "fibres" in kinds else None
    if widths is not None and segmentation is not None:
        segmentation, widths = _rivals(segmentation, widths)
    found: list[Measurement] = []
    for kind in kinds:
        if kind == "particles" and segmentation is not None and particles is not None:
            found += _certain(measure_particles(particles), segmentation, "particles")
        elif kind == "grains" and segmentation is not None:
            found += _certain(measure_grains(segmentation.labels, pixel_nm), segmentation, "grains")
        elif kind == "fibres" and widths is not None:
            found += measure_fibres(widths, pixel_nm)
        else:
            found += OTHERS[kind](grey, pixel_nm)
    return Measured(tuple(found), segmentation, particles, widths)


def measure_sizes(field: NDArray[np.uint8], burnt_in: Sequence[Box] = ()) -> tuple[Measurement, ...]:
    """Kinds OF_SIZE of ``field``, in pixels, so that they stay true when its scale is told later."""
    return measure_field(field, None, OF_SIZE, burnt_in=burnt_in).measurements


def _rivals(segmentation: Segmentation, widths: Widths) -> tuple[Segmentation, Widths]:
    """What one network is surer of is no longer trusted as what the other sees: fibres are no particles."""
    if widths.refusal or not segmentation.trusted:
        return segmentation, widths
    if widths.confidence >= segmentation.confidence:
        return replace(segmentation, rival=f"fibres are seen here ({widths.confidence:.2f})"), widths
    return segmentation, replace(widths, rival=f"particles are seen here ({segmentation.confidence:.2f})")


def _certain(
    measured: Sequence[Measurement], segmentation: Segmentation, what: str
) -> tuple[Measurement, ...]:
    """Refused, one and all, where the outlines are not to be trusted."""
    by = f"outlines by {segmentation.method}"
    told = [m.model_copy(update={"method": f"{m.method}; {by}"}) for m in measured]
    if segmentation.trusted:
        return tuple(told)
    sure = segmentation.rival or f"{segmentation.confidence:.2f} where {TRUSTED:g} is needed"
    reason = f"outlines of {what} are not certain: {sure}"
    return tuple(m.model_copy(update={"quantity": None, "refused": reason}) for m in told)


def _open_area(grey: NDArray[np.float64], pixel_nm: float | None) -> tuple[Measurement, ...]:
    return measure_pores(dark_side(grey), pixel_nm)


def _cracks(grey: NDArray[np.float64], pixel_nm: float | None) -> tuple[Measurement, ...]:
    return measure_cracks(find_cracks(grey), pixel_nm)


def _quality(grey: NDArray[np.float64], _: float | None) -> tuple[Measurement, ...]:
    return measure_quality(grey)


OTHERS: dict[str, Callable[[NDArray[np.float64], float | None], tuple[Measurement, ...]]] = {
    "pattern": measure_pattern,
    "pores": _open_area,
    "cracks": _cracks,
    "quality": _quality,
}
