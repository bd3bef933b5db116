"""Particles dispersed on a flat substrate, and powders whose grains fill the field."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from micrographia.phantoms.fields import Array, rough, scattered
from micrographia.phantoms.scene import Drawing, Scene, Solid, Variety, View, random_rotation
from micrographia.phantoms.solids import (
    ball,
    cluster,
    cube_planes,
    lump,
    octahedron_planes,
    prism_planes,
    shard_planes,
    sized,
    unit_rows,
)
from micrographia.phantoms.truth import Truth, count, lengths, percent

Maker = Callable[[float, np.random.Generator], tuple[Solid, float, float]]
"""From a size in pixels: the solid, how far it reaches from its centre, and how high that centre lies."""

Prepare = Callable[[np.random.Generator], Maker]
"""Settles what all grains of a specimen have in common."""


def dispersed(view: View, prepare: Prepare) -> Drawing:
    """Separate particles on a substrate: spheres, crystals, platelets, rods, lumps."""
    scene = _substrate(view)
    material = view.specimen.uniform(0.5, 0.95)
    maker = prepare(view.specimen)
    for row, col, radius in _spots(view):
        solid, reach, z = maker(radius * view.unit, view.place)
        tone = float(np.clip(material * view.place.normal(1, 0.06), 0.2, 1.2))
        scene.put(solid, (row * view.unit, col * view.unit), reach, z, tone, scene.new_label())
    _roughen(scene, view, view.specimen.uniform(0, 0.05) * view.unit)
    return _with_truth(scene, view)


def heaped(view: View, prepare: Prepare) -> Drawing:
    """Grains heaped in several layers: angular, rounded, agglomerated or atomised with wide size spread."""
    maker = prepare(view.specimen)
    scene = Scene.flat(view.shape, 0.25)
    material = view.specimen.uniform(0.45, 0.85)
    size, spread = view.specimen.uniform(13, 38), view.specimen.uniform(0.3, 0.6)
    height, width = (side + 3 * size for side in view.extent)
    layers = view.specimen.uniform(2.2, 3.2)
    radii = size * np.exp(view.place.normal(0, spread, 900))
    radii = np.clip(radii, 5, 95)
    needed = int(np.searchsorted(np.cumsum(np.pi * radii**2), layers * height * width)) + 1
    pile = np.sort(view.place.uniform(0, 3.2 * size, min(needed, radii.size)))
    for k in range(pile.size):
        radius = radii[k]
        row, col = view.place.uniform(-1.5 * size, height), view.place.uniform(-1.5 * size, width)
        solid, reach, _ = maker(radius * view.unit, view.place)
        z = (pile[k] - 0.35 * radius) * view.unit
        tone = float(np.clip(material * view.place.normal(1, 0.1), 0.15, 1.2))
        scene.put(solid, (row * view.unit, col * view.unit), reach, z, tone, scene.new_label())
    _grain_texture(scene, view, size)
    return _with_truth(scene, view)


def _spheres(_: np.random.Generator) -> Maker:
    return lambda radius, rng: (ball(radius), radius, radius)


def _spheroids(specimen: np.random.Generator) -> Maker:
    uneven = specimen.uniform(0.04, 0.12)
    return lambda radius, rng: (lump(radius, rng, uneven), 1.6 * radius, 0.8 * radius)


def _crystals(planes: tuple[NDArray[np.float64], NDArray[np.float64]], lying: float) -> Maker:
    """Most rest on a face (a turn about the vertical only); the rest lie as they fell."""

    def make(radius: float, rng: np.random.Generator) -> tuple[Solid, float, float]:
        turn = _about_vertical(rng) if rng.random() < lying else random_rotation(rng)
        return sized(planes, radius, turn), 1.8 * radius, 0.9 * radius

    return make


def _cubes(specimen: np.random.Generator) -> Maker:
    normals, distances = cube_planes()
    return _crystals((normals, distances * 0.85), specimen.uniform(0.3, 0.7))


def _octahedra(specimen: np.random.Generator) -> Maker:
    normals, distances = octahedron_planes(specimen.choice([0.0, 0.15, 0.3]))
    return _crystals((normals, distances * 1.3), 0.1)


def _platelets(specimen: np.random.Generator) -> Maker:
    planes = prism_planes(int(specimen.choice([3, 6, 6])), specimen.uniform(0.12, 0.3))
    lying = specimen.uniform(0.6, 0.9)

    def make(radius: float, rng: np.random.Generator) -> tuple[Solid, float, float]:
        tilt = rng.normal(0, 0.12) if rng.random() < lying else rng.uniform(0.5, 1.3)
        return sized(planes, radius, _about_vertical(rng) @ _tilted(tilt)), 2.2 * radius, 0.5 * radius

    return make


def _rods(specimen: np.random.Generator) -> Maker:
    planes = prism_planes(int(specimen.choice([6, 12])), specimen.uniform(2.0, 3.5))

    def make(radius: float, rng: np.random.Generator) -> tuple[Solid, float, float]:
        width = 0.5 * radius
        lying = _about_vertical(rng) @ _tilted(np.pi / 2 + rng.normal(0, 0.08))
        return sized(planes, width, lying), 4.0 * width, width

    return make


def _about_vertical(rng: np.random.Generator) -> NDArray[np.float64]:
    turn = rng.uniform(0, 2 * np.pi)
    return np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])


def _tilted(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])


def _shards(specimen: np.random.Generator) -> Maker:
    faces, aspect = int(specimen.integers(7, 14)), specimen.uniform(1.0, 1.5)

    def make(radius: float, rng: np.random.Generator) -> tuple[Solid, float, float]:
        planes = shard_planes(rng, faces, aspect * rng.uniform(0.9, 1.1))
        return sized(planes, radius, random_rotation(rng)), 2.1 * aspect * radius, 0.8 * radius

    return make


def _pebbles(specimen: np.random.Generator) -> Maker:
    """Worn fragments: many blunt faces, or none."""
    uneven, worn = specimen.uniform(0.04, 0.12), specimen.uniform(0.2, 0.8)

    def make(radius: float, rng: np.random.Generator) -> tuple[Solid, float, float]:
        if rng.random() < worn:
            return lump(radius, rng, uneven, 0.8), 1.6 * radius, 0.7 * radius
        planes = shard_planes(rng, 40, rng.uniform(1.0, 1.4))
        return sized(planes, radius, random_rotation(rng)), 2.1 * radius, 0.8 * radius

    return make


def _agglomerates(specimen: np.random.Generator) -> Maker:
    number = int(specimen.integers(8, 22))

    def make(radius: float, rng: np.random.Generator) -> tuple[Solid, float, float]:
        lumps = max(3, int(number * rng.uniform(0.6, 1.3)))
        return cluster(1.15 * radius, rng, lumps), 1.15 * radius, 0.7 * radius

    return make


def _flakes(specimen: np.random.Generator) -> Maker:
    faces, thickness = int(specimen.integers(5, 9)), specimen.uniform(0.12, 0.3)

    def make(radius: float, rng: np.random.Generator) -> tuple[Solid, float, float]:
        angle = 2 * np.pi * (np.arange(faces) + rng.uniform(-0.35, 0.35, faces)) / faces
        walls = np.stack([np.sin(angle), np.cos(angle), rng.normal(0, 0.15, faces)], axis=1)
        normals = unit_rows(np.concatenate([walls, [[0, 0, 1], [0, 0, -1]]]))
        distances = np.concatenate([rng.uniform(0.7, 1.0, faces), [thickness, thickness]])
        turn = _about_vertical(rng) @ _tilted(rng.normal(0, 0.5)) @ _about_vertical(rng)
        return sized((normals, distances), 1.2 * radius, turn), 2.6 * radius, 0.5 * radius

    return make


def _droplets(specimen: np.random.Generator) -> Maker:
    """Gas-atomised metal: mostly spheres, some drawn out or frozen against a neighbour."""
    odd = specimen.uniform(0.1, 0.4)

    def make(radius: float, rng: np.random.Generator) -> tuple[Solid, float, float]:
        solid = lump(radius, rng, 0.1, 1.0) if rng.random() < odd else ball(radius)
        return solid, 1.6 * radius, radius

    return make


def _spots(view: View) -> list[tuple[float, float, float]]:
    """(row, column, radius) in design units of particles that overlap little, single or in clusters."""
    size = float(np.exp(view.specimen.uniform(np.log(9), np.log(52))))
    spread = float(view.specimen.choice([0.03, 0.12, 0.3]))
    coverage, sticky = view.specimen.uniform(0.05, 0.4), view.specimen.choice([0.0, 0.3, 0.8])
    height, width = view.extent
    wanted = int(np.clip(coverage * height * width / (np.pi * size**2), 4, 220))
    spots: list[tuple[float, float, float]] = []
    for _ in range(6 * wanted):
        radius = float(np.clip(size * np.exp(view.place.normal(0, spread)), 4, 90))
        row, col = view.place.uniform(-size, height + size), view.place.uniform(-size, width + size)
        if spots and view.place.random() < sticky:
            near_row, near_col, near = spots[view.place.integers(len(spots))]
            angle = view.place.uniform(0, 2 * np.pi)
            row, col = near_row + (near + radius) * np.sin(angle), near_col + (near + radius) * np.cos(angle)
        if all(np.hypot(row - r, col - c) >= 0.93 * (radius + s) for r, c, s in spots):
            spots.append((row, col, radius))
        if len(spots) >= wanted:
            break
    return spots


def _substrate(view: View) -> Scene:
    """A polished wafer, a conductive tape, or a grainy film."""
    scene = Scene.flat(view.shape, view.specimen.uniform(0.08, 0.34))
    kind = view.specimen.choice(["wafer", "tape", "film"])
    if kind == "tape":
        scene.height += rough(view.shape, view.grain, 1.0, 120 * view.unit, 5 * view.unit) * view.unit * 1.6
        pits = rough(view.shape, view.grain, 0.3, 60 * view.unit, 10 * view.unit)
        scene.height -= np.clip(pits - 1.6, 0, 1) * 8 * view.unit
    elif kind == "film":
        scene.height += rough(view.shape, view.grain, 0.2, 9 * view.unit, 3 * view.unit) * view.unit * 0.35
    scene.tone *= 1 + 0.06 * rough(view.shape, view.grain, 1.2)
    return scene


def _roughen(scene: Scene, view: View, amplitude: float) -> None:
    on = scene.label > 0
    scene.height[on] += (amplitude * 6 * rough(view.shape, view.grain, 0.5, 14 * view.unit, 2.5))[on]


def _grain_texture(scene: Scene, view: View, size: float) -> None:
    """What the surface of a single grain looks like: nodules on agglomerates, steps and dust elsewhere."""
    unit = view.unit
    if view.variety == "agglomerated powder":
        spacing = max(3.0, view.specimen.uniform(0.1, 0.2) * size * unit)
        scene.height += nodules(view.shape, spacing, view.grain) * 0.5
    elif view.variety == "rounded powder":
        scene.height += (
            rough(view.shape, view.grain, 0.6, 30 * unit, 3) * view.specimen.uniform(0.3, 1.2) * unit
        )
    else:
        scene.height += (
            rough(view.shape, view.grain, 0.4, 20 * unit, 2.5) * view.specimen.uniform(0.1, 0.6) * unit
        )


def nodules(shape: tuple[int, int], spacing: float, rng: np.random.Generator) -> Array:
    """Domes at scattered points, touching: the surface of a cauliflower."""
    points = scattered(shape, spacing, rng, 0.3)
    grid = np.indices(shape, dtype=np.float32).reshape(2, -1).T
    near = cKDTree(points).query(grid, distance_upper_bound=spacing)[0].reshape(shape).astype(np.float32)
    reach = np.float32(0.75 * spacing)
    return np.asarray(np.sqrt(np.maximum(reach**2 - np.minimum(near, reach) ** 2, 0)))


def _with_truth(scene: Scene, view: View) -> Drawing:
    objects = scene.objects()
    diameters = np.array([o.equivalent_diameter_px for o in objects])
    quantities = count("count", len(objects)) | percent("area_fraction", float((scene.label > 0).mean()))
    quantities |= lengths("diameter", diameters, view.pixel_size_nm)
    return scene, Truth(variety=view.variety, quantities=quantities, objects=objects)


PARTICLES = (
    Variety("spherical particles", partial(dispersed, prepare=_spheres), 1, 60),
    Variety("rounded particles", partial(dispersed, prepare=_spheroids), 1.5, 150),
    Variety("cubic crystals", partial(dispersed, prepare=_cubes), 0.8, 80),
    Variety("octahedral crystals", partial(dispersed, prepare=_octahedra), 0.8, 40),
    Variety("platelet crystals", partial(dispersed, prepare=_platelets), 2, 60),
    Variety("rod-shaped particles", partial(dispersed, prepare=_rods), 0.8, 40),
)
POWDERS = (
    Variety("crushed angular powder", partial(heaped, prepare=_shards), 30, 900),
    Variety("agglomerated powder", partial(heaped, prepare=_agglomerates), 10, 300),
    Variety("flaky powder", partial(heaped, prepare=_flakes), 15, 400),
    Variety("rounded powder", partial(heaped, prepare=_pebbles), 20, 600),
    Variety("atomised metal powder", partial(heaped, prepare=_droplets), 150, 900),
)
