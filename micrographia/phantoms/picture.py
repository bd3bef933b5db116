"""Draw one micrograph of a category: specimen, view, scene, exposure, databar."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from micrographia.errors import RecipeError
from micrographia.phantoms import databar as bars
from micrographia.phantoms.devices import DEVICES
from micrographia.phantoms.foams import SPONGES
from micrographia.phantoms.grains import PARTICLES, POWDERS
from micrographia.phantoms.imaging import expose, microscope
from micrographia.phantoms.lattices import PATTERNS
from micrographia.phantoms.organisms import ORGANISMS
from micrographia.phantoms.scene import Variety, View
from micrographia.phantoms.strands import FIBRES, NANOWIRES
from micrographia.phantoms.surfaces import FILMS
from micrographia.phantoms.tips import TIPS
from micrographia.phantoms.truth import DISPLAY_WIDTH_MM, DatabarTruth, Phantom
from micrographia.records import Instrument, Quantity

VARIETIES: dict[str, tuple[Variety, ...]] = {
    "Biological": ORGANISMS,
    "Fibres": FIBRES,
    "Films and Coated Surfaces": FILMS,
    "MEMS Devices and Electrodes": DEVICES,
    "Nanowires": NANOWIRES,
    "Particles": PARTICLES,
    "Patterned Surface": PATTERNS,
    "Porous Sponge": SPONGES,
    "Powder": POWDERS,
    "Tips": TIPS,
}
"""What each category is made of."""

CATEGORIES: tuple[str, ...] = tuple(VARIETIES)
SMALLEST_FIELD = 48
"""Rows and columns below which there is nothing to see."""


def draw(
    category: str,
    seed: int,
    size: tuple[int, int] = (512, 512),
    databar: str | None = None,
    specimen: int | None = None,
    variety: str | None = None,
) -> Phantom:
    """Draw image ``seed`` of a category, ``size`` (rows, columns) pixels with its databar.

    Images with the same ``specimen`` (by default one for each seed) show the same material and the same kind
    of structure at somewhat different magnifications. The same arguments give the same bytes, whatever was
    drawn before. RecipeError for an unknown category, variety or databar, or a size too small to hold one.
    """
    specimen = seed if specimen is None else specimen
    rows, cols = size[0] - (bars.height(databar, size[1]) if databar else 0), size[1]
    if min(rows, cols) < SMALLEST_FIELD:
        raise RecipeError(
            f"size {size[0]} x {size[1]} leaves a field of {rows} x {cols} pixels",
            f"ask for at least {SMALLEST_FIELD} each way beside the databar",
        )
    choice, material, setup = _streams(category, specimen, "specimen", 3)
    place, grain, noise, taking = _streams(category, seed, "image", 4)
    kind = _variety(category, variety, choice)
    reference_um = np.exp(choice.uniform(np.log(kind.narrowest_um), np.log(kind.widest_um)))
    zoom = taking.uniform(0.75, 1.35)
    pixel_size_nm = float(1000 * reference_um / zoom / cols)
    view = View(kind.name, (rows, cols), cols / 512 * zoom, pixel_size_nm, material, place, grain)
    scene, truth = kind.draw(view)
    optics, inlens = microscope(setup, taking, cols / 512)
    instrument = _instrument(setup, taking, inlens, databar, pixel_size_nm * cols)
    image, bar = _finish(expose(scene, optics, noise), databar, pixel_size_nm, instrument)
    instances = np.pad(scene.label, ((0, size[0] - rows), (0, 0))) if truth.objects else None
    return Phantom(image, category, seed, specimen, pixel_size_nm, truth, instances, bar, instrument)


def _variety(category: str, name: str | None, choice: np.random.Generator) -> Variety:
    if category not in VARIETIES:
        raise RecipeError(f"category is {category!r}", f"use one of {', '.join(CATEGORIES)}")
    kinds = VARIETIES[category]
    weights = np.array([kind.weight for kind in kinds])
    drawn = kinds[choice.choice(len(kinds), p=weights / weights.sum())]
    if name is None:
        return drawn
    found = [kind for kind in kinds if kind.name == name]
    if not found:
        raise RecipeError(f"variety is {name!r}", f"{category} has {', '.join(kind.name for kind in kinds)}")
    return found[0]


def _streams(category: str, seed: int, role: str, number: int) -> list[np.random.Generator]:
    key = np.random.SeedSequence([seed, zlib.crc32(category.encode()), zlib.crc32(role.encode())])
    return [np.random.default_rng(child) for child in key.spawn(number)]


def _instrument(
    setup: np.random.Generator,
    taking: np.random.Generator,
    inlens: bool,
    databar: str | None,
    width_nm: float,
) -> Instrument:
    names = {"fei": ("ETD", "TLD"), "zeiss": ("SE2", "InLens"), "tescan": ("E-T", "In-Beam SE")}
    outside, inside = names.get(databar or "", ("SE", "InLens SE"))
    wd = setup.uniform(2, 6) if inlens else setup.uniform(5, 14)
    return Instrument(
        technique="SEM",
        detector=inside if inlens else outside,
        accelerating_voltage=Quantity(value=float(setup.choice([1, 2, 3, 5, 10, 15, 20])), unit="kV"),
        working_distance=Quantity(value=round(float(wd + taking.normal(0, 0.1)), 1), unit="mm"),
        magnification=DISPLAY_WIDTH_MM * 1e6 / width_nm,
    )


def _finish(
    field: NDArray[np.uint8], databar: str | None, pixel_size_nm: float, instrument: Instrument
) -> tuple[NDArray[np.uint8], DatabarTruth | None]:
    if databar is None:
        return field, None
    return bars.attach(field, databar, pixel_size_nm, instrument)
