"""Dispersions: particles of any outline on any ground, quickly, for teaching a segmenter where each one ends.

Where the ten categories look like what a laboratory sees, these are drawn at random over far more than that:
outline, size, spread, layout, the signal of the beam, ground, light, blur and noise (domain randomisation,
Tobin et al. 2017, arXiv:1703.06907). What the network is to ignore is drawn too: print, stains, grid bars.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from micrographia.phantoms.databar import font
from micrographia.phantoms.fields import rough

Array = NDArray[np.floating[Any]]
Labels = NDArray[np.int32]

SMALLEST, LARGEST_SHARE = 6.0, 1.0
"""Equivalent diameters in pixels, and as a part of the image's side."""
THINNEST, THICKEST_SHARE = 7.0, 0.3
"""Of strands, in the same way."""
MOST_PARTICLES = 350
LEAST_VISIBLE = 0.25
"""Of a particle that is hidden by more than the rest, nothing is labelled."""


@dataclass(frozen=True)
class Dispersion:
    """A drawn image and its particles."""

    image: NDArray[np.uint8]
    """(rows, columns)."""
    labels: Labels
    """(rows, columns), 0 for ground, else the number of the particle."""
    depth: NDArray[np.float32] | None = None
    """(rows, columns) of strands: 0 at the sides of each, 1 on its axis, whatever hides a part of it; None
    for particles."""


@dataclass(frozen=True)
class _Outline:
    """The family of a whole image: rho(u, v) is 0 in the middle of a particle and 1 on its outline."""

    rho: Callable[[Array, Array, np.random.Generator], Array]
    aspect: tuple[float, float]


def draw_dispersion(rng: np.random.Generator, side: int = 192) -> Dispersion:
    """One square image of ``side`` pixels; the same state of ``rng`` gives the same image."""
    diameter = float(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST_SHARE * side))))
    places, diameters = _layout(rng, side, diameter)
    outline = OUTLINES[rng.choice(len(OUTLINES), p=OUTLINE_SHARES)]
    render = _Transmitted(rng, side) if rng.random() < 0.5 else _Secondary(rng, side, diameter)
    aspect = rng.uniform(*outline.aspect)
    aligned = rng.random() < 0.2
    direction = rng.uniform(0, np.pi)
    full = []
    for place, size in zip(places, diameters, strict=True):
        turn = direction + rng.normal(0, 0.1) if aligned else rng.uniform(0, 2 * np.pi)
        stretch = np.sqrt(max(1.0, aspect * np.exp(rng.normal(0, 0.08))))
        window, rho = _window(outline, place, size, turn, stretch, side, rng)
        if window is None or not (rho < 1).any():
            continue
        full.append(int((rho < 1).sum()))
        render.add(window, rho, size, len(full), rng)
    image, labels = render.finish(rng)
    return Dispersion(_photographed(image, rng, diameter), _visible(labels, np.array([0, *full])))


def _visible(labels: Labels, full: NDArray[np.int64], least: float = LEAST_VISIBLE) -> Labels:
    """Without particles of which too little is seen, numbered from 1."""
    seen = np.bincount(labels.ravel(), minlength=full.size)
    kept = (seen >= least * full) & (seen >= 12)
    kept[0] = False
    numbers = np.cumsum(kept) * kept
    return np.asarray(numbers[labels], np.int32)


# Where particles lie


def _layout(
    rng: np.random.Generator, side: int, diameter: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middles (n, 2) and equivalent diameters (n,)."""
    spread = rng.choice(
        [rng.uniform(0, 0.05), rng.uniform(0.05, 0.2), rng.uniform(0.2, 0.45)], p=[0.35, 0.45, 0.2]
    )
    layout = LAYOUTS[rng.choice(len(LAYOUTS), p=LAYOUT_SHARES)]
    places = layout(rng, side, diameter)[:MOST_PARTICLES]
    diameters = diameter * np.exp(rng.normal(0, spread, len(places)))
    if rng.random() < 0.08:  # satellites
        diameters[rng.random(len(places)) < 0.4] *= rng.uniform(0.3, 0.6)
    return places, diameters


def _apart(rng: np.random.Generator, side: int, diameter: float) -> NDArray[np.float64]:
    """At random, with a least distance between them."""
    area = rng.uniform(0.05, 0.5)
    wanted = int(np.clip(area * side**2 / (np.pi / 4 * diameter**2), 1, MOST_PARTICLES))
    least = diameter * rng.choice([0.85, 1.0, 1.15])
    places: list[NDArray[np.float64]] = []
    for place in rng.uniform(-0.2 * diameter, side + 0.2 * diameter, (6 * wanted, 2)):
        if len(places) == wanted:
            break
        if not places or np.hypot(*(np.array(places) - place).T).min() >= least:
            places.append(place)
    return np.array(places)


def _clusters(rng: np.random.Generator, side: int, diameter: float) -> NDArray[np.float64]:
    """Each touches one that is there already, or begins a cluster."""
    wanted = int(np.clip(rng.uniform(0.1, 0.6) * side**2 / (np.pi / 4 * diameter**2), 2, 150))
    gap, alone = diameter * rng.uniform(0.85, 1.05), rng.uniform(0.05, 0.4)
    places = [rng.uniform(0, side, 2)]
    for _ in range(8 * wanted):
        if len(places) == wanted:
            break
        angle = rng.uniform(0, 2 * np.pi)
        beside = places[rng.integers(len(places))] + gap * np.array([np.sin(angle), np.cos(angle)])
        place = rng.uniform(0, side, 2) if rng.random() < alone else beside
        inside = np.all((place > -0.3 * diameter) & (place < side + 0.3 * diameter))
        if inside and np.hypot(*(np.array(places) - place).T).min() >= 0.9 * gap:
            places.append(place)
    return np.array(places)


def _packed(rng: np.random.Generator, side: int, diameter: float) -> NDArray[np.float64]:
    """A monolayer: hexagonal or square, turned, a little loose, with vacancies."""
    step = diameter * rng.uniform(0.97, 1.3)
    reach = np.arange(-int(side / step) - 3, int(side / step) + 4)
    i, j = (grid.ravel() for grid in np.meshgrid(reach, reach, indexing="ij"))
    shift, height = (0.5, np.sqrt(0.75)) if rng.random() < 0.8 else (0.0, 1.0)
    grid = step * np.stack([height * i, j + shift * (i % 2)], axis=1)
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    places = (
        grid @ turn.T
        + rng.uniform(0.3, 0.7, 2) * side
        + rng.normal(0, step * rng.uniform(0, 0.06), grid.shape)
    )
    inside = np.all((places > -0.5 * diameter) & (places < side + 0.5 * diameter), axis=1)
    places = places[inside & (rng.random(len(places)) > rng.choice([0.0, 0.03, 0.2]))]
    return np.asarray(rng.permutation(places))


def _heaped(rng: np.random.Generator, side: int, diameter: float) -> NDArray[np.float64]:
    """Anywhere, over each other."""
    number = int(np.clip(rng.uniform(0.3, 1.3) * side**2 / (np.pi / 4 * diameter**2), 2, MOST_PARTICLES))
    return np.asarray(rng.uniform(-0.3 * diameter, side + 0.3 * diameter, (number, 2)))


def _few(rng: np.random.Generator, side: int, diameter: float) -> NDArray[np.float64]:
    """One to five, near the middle."""
    return np.asarray(rng.normal(side / 2, side / 4, (int(rng.integers(1, 6)), 2)))


LAYOUTS = (_apart, _clusters, _packed, _heaped, _few)
LAYOUT_SHARES = (0.33, 0.27, 0.17, 0.11, 0.12)


# Outlines: rho over coordinates in units of the particle's radius


def _round(u: Array, v: Array, _: np.random.Generator) -> Array:
    return np.hypot(u, v)


def _lumpy(u: Array, v: Array, rng: np.random.Generator) -> Array:
    """A radius that wanders with the angle."""
    angle = np.arctan2(u, v)
    radius = np.ones_like(u)
    strength = rng.uniform(0.05, 0.22)
    for order in range(2, 7):
        radius += np.float32(strength / order * rng.normal()) * np.cos(
            order * angle + rng.uniform(0, 2 * np.pi)
        )
    return np.hypot(u, v) / np.maximum(radius, 0.3)


def _polygon(sides: tuple[int, ...], regular: float) -> Callable[[Array, Array, np.random.Generator], Array]:
    def rho(u: Array, v: Array, rng: np.random.Generator) -> Array:
        n = int(rng.choice(sides))
        angles = 2 * np.pi * (np.arange(n) + rng.normal(0, regular, n)) / n
        reaches = np.sqrt(np.pi / (n * np.tan(np.pi / n))) * np.exp(rng.normal(0, regular, n))
        planes = [(u * np.sin(a) + v * np.cos(a)) / r for a, r in zip(angles, reaches, strict=True)]
        sharp = float(rng.uniform(8, 40))  # corners are rounded: a soft maximum
        soft = np.log(sum(np.exp(np.clip(sharp * (plane - 1), -30, 30)) for plane in planes)) / sharp + 1
        return np.asarray(np.maximum(soft, 0), np.float32)

    return rho


def _super(u: Array, v: Array, rng: np.random.Generator) -> Array:
    """Between disc and square."""
    power = rng.uniform(2.2, 8)
    return np.asarray((np.abs(u) ** power + np.abs(v) ** power) ** (1 / power) * 1.1, np.float32)


def _capsule(u: Array, v: Array, _: np.random.Generator) -> Array:
    """A rod with round ends once it is stretched."""
    return np.asarray(np.maximum(np.abs(u), (u**4 + v**4) ** 0.25), np.float32)


OUTLINES = (
    _Outline(_round, (1, 1.05)),
    _Outline(_round, (1.05, 2.2)),
    _Outline(_lumpy, (1, 1.6)),
    _Outline(_polygon((3, 4, 5, 6, 8), 0.02), (1, 1.1)),
    _Outline(_polygon((4, 5, 6, 7), 0.12), (1, 1.5)),
    _Outline(_super, (1, 1.3)),
    _Outline(_capsule, (2, 7)),
)
OUTLINE_SHARES = (0.36, 0.12, 0.16, 0.12, 0.1, 0.07, 0.07)


def _window(
    outline: _Outline,
    place: NDArray[np.float64],
    diameter: float,
    turn: float,
    stretch: float,
    side: int,
    rng: np.random.Generator,
) -> tuple[tuple[slice, slice] | None, Array]:
    """The part of the image around a particle, and rho on it."""
    reach = diameter * stretch * 0.95 + 3
    low = np.maximum(np.floor(place - reach), 0).astype(int)
    high = np.minimum(np.ceil(place + reach), side).astype(int)
    if np.any(high <= low):
        return None, np.ones((1, 1), np.float32)
    r, c = np.meshgrid(
        np.arange(low[0], high[0], dtype=np.float32),
        np.arange(low[1], high[1], dtype=np.float32),
        indexing="ij",
    )
    r, c = r - np.float32(place[0]), c - np.float32(place[1])
    cos, sin, radius = np.float32(np.cos(turn)), np.float32(np.sin(turn)), np.float32(diameter / 2)
    u = (c * sin + r * cos) * np.float32(stretch) / radius
    v = (c * cos - r * sin) / np.float32(stretch) / radius
    return (slice(low[0], high[0]), slice(low[1], high[1])), outline.rho(u, v, rng)


# How the beam sees them


class _Transmitted:
    """Transmission: what lies on each other darkens together; some are shown as negatives."""

    def __init__(self, rng: np.random.Generator, side: int) -> None:
        self.depth = np.zeros((side, side), np.float32)
        self.fringe = np.zeros((side, side), np.float32)
        self.labels = np.zeros((side, side), np.int32)
        self.profile = str(
            rng.choice(["sphere", "flat", "shell", "core", "hollow"], p=[0.3, 0.4, 0.1, 0.1, 0.1])
        )
        self.density = rng.uniform(0.12, 1.8)
        self.vary = rng.choice([0.0, rng.uniform(0.05, 0.5)])
        self.mottle = rng.choice([0.0, rng.uniform(0.1, 0.5)], p=[0.6, 0.4])
        self.rim = rng.choice([0.0, rng.uniform(0.02, 0.2)])
        self.inner = rng.uniform(0.3, 0.85)
        self.pattern = rough((side, side), rng, 0.3, coarsest=rng.uniform(5, 30))

    def add(
        self, window: tuple[slice, slice], rho: Array, diameter: float, number: int, rng: np.random.Generator
    ) -> None:
        """One particle; where it lies on another, the later one is labelled."""
        inside = rho < 1
        thickness = (
            np.sqrt(np.maximum(1 - rho**2, 0)) if self.profile == "sphere" else inside.astype(np.float32)
        )
        if self.profile == "shell":
            thickness = np.where(rho < self.inner, 0.45, 1.0) * inside
        elif self.profile == "core":
            thickness = np.where(rho < self.inner * 0.8, 1.6, 0.6) * inside
        elif self.profile == "hollow":
            thickness = inside * (0.25 + 0.75 * np.clip(rho, 0, 1) ** 4)
        strength = self.density * np.exp(rng.normal(0, 0.5) * self.vary)
        grain = 1 + self.mottle * np.roll(self.pattern, tuple(rng.integers(0, 99, 2)), (0, 1))[window]
        self.depth[window] += (strength * thickness * np.clip(grain, 0.2, 2)).astype(np.float32)
        width = max(1.5, 0.06 * diameter)
        outside = (rho - 1) * diameter / 2
        self.fringe[window] += np.where(
            (outside > 0) & (outside < width), np.float32(self.rim), np.float32(0)
        )
        self.labels[window][inside] = number

    def finish(self, rng: np.random.Generator) -> tuple[Array, Labels]:
        """Film and light behind them."""
        side = len(self.depth)
        film = rough((side, side), rng, rng.uniform(0, 0.4), coarsest=rng.uniform(2, 12)) * rng.uniform(
            0, 0.12
        )
        film += rough((side, side), rng, 0.9) * rng.choice([0.0, rng.uniform(0, 0.15)])
        image = np.exp(-self.depth - np.maximum(film + 0.1, 0)) * (1 + self.fringe)
        return (1 - image if rng.random() < 0.15 else image).astype(np.float32), self.labels


class _Secondary:
    """Secondary or backscattered electrons: the later particle hides the earlier, edges and slopes glow."""

    def __init__(self, rng: np.random.Generator, side: int, diameter: float) -> None:
        self.ground = rng.uniform(0.05, 0.7)
        texture = rough((side, side), rng, rng.uniform(0.2, 0.9), coarsest=rng.uniform(10, 200))
        self.image = (self.ground + rng.uniform(0, 0.1) * texture).astype(np.float32)
        if rng.random() < 0.2:  # pores or lines of the support
            self.image += rng.uniform(0.05, 0.2) * (texture > rng.uniform(0.8, 2)).astype(np.float32)
        self.labels = np.zeros((side, side), np.int32)
        self.level = self.ground + rng.choice([-1, 1], p=[0.12, 0.88]) * rng.uniform(0.08, 0.5)
        self.edge = rng.choice([0.0, rng.uniform(0.05, 0.6)], p=[0.25, 0.75])
        self.sharpness = rng.uniform(2, 14)
        self.slope = rng.choice([0.0, rng.uniform(0.05, 0.35)])
        self.light = rng.uniform(0, 2 * np.pi)
        self.dome = rng.uniform(-0.25, 0.25)
        self.vary = rng.uniform(0, 0.12)
        self.skin = rng.choice([0.0, rng.uniform(0.01, 0.15)])
        self.facets = rng.random() < 0.2
        self.shadow = rng.choice([0.0, rng.uniform(0.1, 0.6)])
        self.pattern = rough(
            (side, side), rng, rng.uniform(0.1, 0.7), coarsest=rng.uniform(3, max(4, diameter / 2))
        )

    def add(
        self, window: tuple[slice, slice], rho: Array, diameter: float, number: int, rng: np.random.Generator
    ) -> None:
        """One particle on top of what is there, which it shades around itself."""
        inside = rho < 1
        beside = np.clip(1 - np.maximum(rho - 1, 0) * diameter / 2 / (0.12 * diameter + 1), 0, 1)
        self.image[window] *= (1 - self.shadow * beside * ~inside).astype(np.float32)
        gradient_r, gradient_c = np.gradient(rho) if min(rho.shape) > 1 else (rho * 0, rho * 0)
        slope = (gradient_r * np.sin(self.light) + gradient_c * np.cos(self.light)) * diameter / 2
        tilt = np.clip(rho, 0, 1) ** 2 if not self.facets else np.float32(1)
        signal = (
            self.level
            + rng.normal(0, self.vary)
            + self.edge * np.clip(rho, 0, 1) ** self.sharpness
            + self.slope * slope * tilt
            + self.dome * (1 - np.clip(rho, 0, 1) ** 2)
            + self.skin * np.roll(self.pattern, tuple(rng.integers(0, 99, 2)), (0, 1))[window]
        )
        self.image[window] = np.where(inside, signal, self.image[window])
        self.labels[window][inside] = number

    def finish(self, rng: np.random.Generator) -> tuple[Array, Labels]:
        """As it is; some are shown as negatives."""
        return (1 - self.image if rng.random() < 0.05 else self.image), self.labels


# Strands


def draw_strands(rng: np.random.Generator, side: int = 192) -> Dispersion:
    """One square image of fibres or wires over each other, each with a number of its own where it is seen."""
    width = float(np.exp(rng.uniform(np.log(THINNEST), np.log(THICKEST_SHARE * side))))
    render = _Transmitted(rng, side) if rng.random() < 0.2 else _Secondary(rng, side, width)
    r, c = np.meshgrid(np.arange(side, dtype=np.float32), np.arange(side, dtype=np.float32), indexing="ij")
    full: list[int] = []
    depth = np.zeros((side, side), np.float32)
    spread = rng.choice([0.03, 0.15, 0.35])
    for middle, direction in _laid(rng, side, width):
        thick = width * float(np.exp(rng.normal(0, spread)))
        u = (c - middle[1]) * np.float32(np.cos(direction)) - (r - middle[0]) * np.float32(np.sin(direction))
        v = (c - middle[1]) * np.float32(np.sin(direction)) + (r - middle[0]) * np.float32(np.cos(direction))
        wave, sway = rng.uniform(0.8, 4) * side, rng.choice([0.0, rng.uniform(0, 0.06)]) * side
        phase = 2 * np.pi / wave
        off = v - np.float32(sway) * np.sin(np.float32(phase) * u)
        slope = np.float32(sway * phase) * np.cos(np.float32(phase) * u)
        rho = np.abs(off) / np.sqrt(1 + slope**2) / np.float32(thick / 2)
        if rng.random() < 0.15:  # it ends within the field
            rho = np.where(
                u > rng.uniform(-0.3, 0.3) * side, np.hypot(rho, np.maximum(u, 0) / (thick / 2)), rho
            )
        inside = rho < 1
        if inside.sum() < 12:
            continue
        full.append(int(inside.sum()))
        depth[inside] = 1 - rho[inside]
        render.add((slice(0, side), slice(0, side)), rho, thick, len(full), rng)
    image, labels = render.finish(rng)
    seen = _visible(labels, np.array([0, *full]), 0.08)
    return Dispersion(_photographed(image, rng, width), seen, np.where(seen > 0, depth, np.float32(0)))


def _laid(rng: np.random.Generator, side: int, width: float) -> list[tuple[NDArray[np.float64], float]]:
    """A middle point and a direction for each strand, the lowest first: mat, bundle, weave or network."""
    along = rng.uniform(0, np.pi)
    kind = rng.choice(["mat", "aligned", "bundle", "weave"], p=[0.4, 0.25, 0.2, 0.15])
    number = int(np.clip(rng.uniform(0.2, 1.6) * side / width, 2, 45))
    if kind in ("bundle", "weave"):
        step = width * rng.uniform(0.9, 1.6)
        offsets = np.arange(-0.8 * side, 0.8 * side, step)[:45]
        turns = [along, along + np.pi / 2] if kind == "weave" else [along]
        across = [np.array([np.cos(t), np.sin(t)]) for t in turns]
        laid = [
            (side / 2 + offset * across[k] + rng.normal(0, 0.05 * width, 2), turns[k] + rng.normal(0, 0.01))
            for offset in offsets
            for k in range(len(turns))
        ]
        return [laid[k] for k in rng.permutation(len(laid))]
    fan = rng.uniform(0.02, 0.3) if kind == "aligned" else np.pi
    return [(rng.uniform(0, side, 2), along + rng.uniform(-fan, fan)) for _ in range(number)]


# From signal to grey levels


def _photographed(image: Array, rng: np.random.Generator, diameter: float) -> NDArray[np.uint8]:
    """Light, blur, noise, contrast and print."""
    side = len(image)
    r, c = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side), indexing="ij")
    ramp = rng.normal(0, 0.12) * r + rng.normal(0, 0.12) * c + rng.normal(0, 0.06) * (r * r + c * c)
    image = image * (1 + ramp).astype(np.float32) if rng.random() < 0.6 else image
    image = ndimage.gaussian_filter(image, rng.uniform(0.3, min(1.6, 0.3 + diameter / 14)))
    low, high = np.percentile(image, [0.5, 99.5])
    image = (image - low) / max(float(high - low), 0.03)
    noise = rng.normal(0, 1, image.shape)
    if rng.random() < 0.4:
        noise = ndimage.gaussian_filter(noise, rng.uniform(0.4, 1.2))
        noise /= noise.std()
    if rng.random() < 0.1:
        noise = noise + rng.normal(0, 0.6, (side, 1))  # lines of the scan
    strength = np.exp(rng.uniform(np.log(0.01), np.log(0.2)))
    image = image + strength * noise * (np.sqrt(np.clip(image, 0.1, 1)) if rng.random() < 0.5 else 1)
    span, bottom = rng.uniform(0.35, 1.05), rng.uniform(0, 0.35)
    grey = 255 * (bottom + span * np.clip(image, -0.2, 1.2) ** 1.0)
    gamma = rng.uniform(0.7, 1.4)
    grey = 255 * (np.clip(grey, 0, 255) / 255) ** gamma
    return _printed(grey.astype(np.uint8), rng)


PRINT = ("a", "b", "(c)", "d)", "100 nm", "2 µm", "500 nm", "1 µm", "SEM", "TEM", "20 nm")


def _printed(grey: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Sometimes letters, a bar, or a panel's corner, which are no particles."""
    if rng.random() > 0.3:
        return grey
    side = len(grey)
    canvas = Image.fromarray(grey)
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(1, 3))):
        level = int(rng.choice([0, 255]))
        size = int(rng.integers(9, max(10, side // 7)))
        row, column = (int(place) for place in rng.uniform(0, side - size, 2))
        if rng.random() < 0.3:
            draw.rectangle((column, row, column + 3 * size, row + size + 4), fill=255 - level)
        draw.text(
            (column + 2, row), str(rng.choice(PRINT)), fill=level, font=font(size, bool(rng.random() < 0.5))
        )
        if rng.random() < 0.6:
            draw.rectangle(
                (column, row + size + 3, column + int(rng.integers(20, 80)), row + size + 5), fill=level
            )
    return np.asarray(canvas)
