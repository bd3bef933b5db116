"""Biological specimens: pollen, diatoms, blood cells, bacteria, butterfly scales."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from micrographia.phantoms.fields import Array, rough
from micrographia.phantoms.scene import Drawing, Scene, Solid, Variety, View
from micrographia.phantoms.solids import ball, lump, tube, walk
from micrographia.phantoms.truth import Truth, count, directions, length, lengths, percent
from micrographia.records import Quantity


def _ground(view: View, tone: float, bumps: float) -> Scene:
    """What the specimen lies on: glass, a filter or tissue."""
    scene = Scene.flat(view.shape, tone)
    scene.height += rough(view.shape, view.grain, 0.7, 80 * view.unit, 3) * np.float32(bumps * view.unit)
    scene.tone *= 1 + 0.06 * rough(view.shape, view.grain, 1.2)
    return scene


def _scattered_spots(
    view: View, wanted: int, size: float, spread: float, apart: float
) -> list[tuple[float, float, float]]:
    """(row, column, radius) in design units; centres at least ``apart`` summed radii from each other."""
    height, width = view.extent
    spots: list[tuple[float, float, float]] = []
    for _ in range(30 * wanted):
        radius = size * float(np.clip(np.exp(view.place.normal(0, spread)), 0.5, 2))
        row, col = view.place.uniform(0, height), view.place.uniform(0, width)
        if all(np.hypot(row - r, col - c) > apart * (radius + s) for r, c, s in spots):
            spots.append((row, col, radius))
        if len(spots) >= wanted:
            break
    return spots


def _with_truth(scene: Scene, view: View, more: dict[str, Quantity] | None = None) -> Drawing:
    objects = scene.objects()
    diameters = np.array([o.equivalent_diameter_px for o in objects])
    quantities = count("count", len(objects)) | percent("area_fraction", float((scene.label > 0).mean()))
    quantities |= lengths("diameter", diameters, view.pixel_size_nm) | (more or {})
    return scene, Truth(variety=view.variety, quantities=quantities, objects=objects)


def spiny_pollen(view: View) -> Drawing:
    """Spherical grains set with conical spines."""
    unit, specimen, place = view.unit, view.specimen, view.place
    size = specimen.uniform(48, 120)
    spines, tall, wide = (
        int(specimen.integers(60, 160)),
        specimen.uniform(0.12, 0.28),
        specimen.uniform(0.05, 0.1),
    )
    scene = _ground(view, specimen.uniform(0.12, 0.3), specimen.uniform(0.5, 4))
    tone = float(specimen.uniform(0.55, 0.75))
    directions_ = _spread_on_sphere(spines)
    for row, col, radius in _scattered_spots(view, int(min(14, 9e4 / size**2)), size, 0.08, 1.02 + tall):
        r, centre = radius * unit, np.array([row, col]) * unit
        label = scene.new_label()
        scene.put(ball(r), (centre[0], centre[1]), r, r, tone, label)
        turned = directions_ @ _rotation(place).T
        for out in turned[turned[:, 2] > -0.25]:
            _spine(scene, centre, r, out, tall * r, wide * r, tone * 1.1, label)
    _texture(scene, view, 0.5, 9)
    return _with_truth(scene, view)


def _spine(
    scene: Scene,
    centre: NDArray[np.float64],
    radius: float,
    out: NDArray[np.float64],
    tall: float,
    wide: float,
    tone: float,
    label: int,
) -> None:
    """A cone on a sphere of ``radius`` pixels, pointing ``out`` (row, column, up)."""
    share = np.linspace(0.0, 1.0, max(3, int(1.6 * tall * np.hypot(out[0], out[1])) + 3))
    reach = (0.97 * radius + tall * share)[:, None] * out[None]
    width = np.maximum(wide * (1 - share), 0.7)
    if np.hypot(out[0], out[1]) * tall < 2:
        tip = reach[-1]
        spot = ball(max(1.2, wide), flatten=max(1.0, tall / max(wide, 1.0)))
        scene.put(
            spot, (centre[0] + tip[0], centre[1] + tip[1]), wide + 2, radius * (1 + out[2]), tone, label
        )
        return
    tube(scene, reach[:, :2] + centre, width, radius + reach[:, 2], tone, label)


def _spread_on_sphere(number: int) -> NDArray[np.float64]:
    """Even directions by the golden angle (Fibonacci lattice), (n, 3)."""
    k = np.arange(number) + 0.5
    up, turn = 1 - 2 * k / number, np.pi * (1 + np.sqrt(5)) * k
    flat = np.sqrt(1 - up**2)
    return np.stack([flat * np.sin(turn), flat * np.cos(turn), up], axis=1)


def _rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return np.asarray(matrix)


def _texture(scene: Scene, view: View, amplitude: float, coarsest: float) -> None:
    field = rough(view.shape, view.grain, 0.4, coarsest * view.unit, 2.5)
    scene.height += np.where(scene.label > 0, amplitude * view.unit * field, 0).astype(np.float32)


def netted_pollen(view: View) -> Drawing:
    """Oval grains with a reticulate wall: a net of ridges around pits."""
    unit, specimen, place = view.unit, view.specimen, view.place
    size, long = specimen.uniform(60, 130), specimen.uniform(1.0, 1.35)
    mesh, ridge = specimen.uniform(0.14, 0.26), specimen.uniform(0.25, 0.4)
    scene = _ground(view, specimen.uniform(0.12, 0.3), specimen.uniform(0.5, 4))
    tone = float(specimen.uniform(0.5, 0.7))
    for row, col, radius in _scattered_spots(view, int(min(12, 8e4 / size**2)), size, 0.08, 1.1):
        turn = place.uniform(0, np.pi)
        solid = _reticulate(radius * unit, long, turn, mesh, ridge, place)
        centre, reach = (row * unit, col * unit), radius * long * unit
        scene.put(solid, centre, reach, radius * unit, tone, scene.new_label())
    _texture(scene, view, 0.25, 12)
    return _with_truth(scene, view)


def _reticulate(
    radius: float, long: float, turn: float, mesh: float, ridge: float, rng: np.random.Generator
) -> Solid:
    """An ellipsoid whose surface is covered by cells of even size, their borders raised."""
    sites = _spread_on_sphere(int(4 / mesh**2)) @ _rotation(rng).T
    sites = sites + rng.normal(0, 0.25 * mesh, sites.shape)
    sites = sites[sites[:, 2] > -0.3]

    def height(dr: Array, dc: Array) -> Array:
        along = (dr * np.sin(turn) + dc * np.cos(turn)) / (radius * long)
        across = (dr * np.cos(turn) - dc * np.sin(turn)) / radius
        inside = 1 - along**2 - across**2
        top = np.sqrt(np.maximum(inside, 0))
        near = cKDTree(sites).query(np.stack([across, along, top], axis=-1).reshape(-1, 3), k=2)[0]
        wall = (near[:, 1] - near[:, 0]).reshape(top.shape) / mesh
        raised = np.clip(1 - wall / ridge, 0, 1) ** 0.5
        return np.where(inside >= 0, radius * (top + 0.07 * raised * (0.3 + top)), -np.inf).astype(np.float32)

    return height


def diatoms(view: View) -> Drawing:
    """Silica shells with regular rows of pores: round (centric) or boat-shaped (pennate)."""
    unit, specimen, place = view.unit, view.specimen, view.place
    centric = view.variety == "centric diatoms"
    size = specimen.uniform(70, 165) if centric else specimen.uniform(24, 60)
    long, pore = specimen.uniform(3.0, 5.5), specimen.uniform(7, 13)
    scene = _ground(view, specimen.uniform(0.12, 0.3), specimen.uniform(0.5, 3))
    tone = float(specimen.uniform(0.55, 0.75))
    angles, stretch = [], 1.0 if centric else long
    wanted = int(np.clip(5e4 / (size**2 * stretch), 1, 14))
    for row, col, radius in _scattered_spots(view, wanted, size * np.sqrt(stretch), 0.08, 0.75):
        turn = place.uniform(0, np.pi)
        half = radius / np.sqrt(stretch) * unit
        solid = _centric(half, pore * unit) if centric else _pennate(half, long, turn, pore * unit)
        centre = (row * unit, col * unit)
        scene.put(solid, centre, half * stretch + 2, place.uniform(2, 12) * unit, tone, scene.new_label())
        angles.append(np.rad2deg(turn))
    _texture(scene, view, 0.15, 20)
    more = length("pore_pitch", pore * unit, view.pixel_size_nm)
    if not centric and angles:
        more |= directions(np.array(angles))
    return _with_truth(scene, view, more)


def _centric(radius: float, pitch: float) -> Solid:
    """A disc with rings of pores, as many to a ring as fit, and a raised rim."""

    def height(dr: Array, dc: Array) -> Array:
        away, angle = np.hypot(dr, dc), np.arctan2(dr, dc)
        ring = np.maximum(np.rint(away / pitch), 0)
        fit = np.maximum(np.rint(2 * np.pi * ring), 1)
        along = (np.mod(angle / (2 * np.pi) * fit + 0.5 * ring, 1) - 0.5) / fit * 2 * np.pi * ring * pitch
        hole = np.hypot(along, away - ring * pitch) < 0.3 * pitch
        rim = np.exp(-(((away - 0.95 * radius) / (0.04 * radius)) ** 2))
        top = radius * (0.18 * np.sqrt(np.maximum(1 - (away / radius) ** 2, 0)) + 0.06 * rim)
        top = top - np.where(hole & (away < 0.88 * radius), 0.35 * pitch, 0)
        return np.where(away <= radius, top, -np.inf).astype(np.float32)

    return height


def _pennate(half: float, long: float, turn: float, pitch: float) -> Solid:
    """A boat-shaped shell with a slit (raphe) along its middle and rows of pores across."""

    def height(dr: Array, dc: Array) -> Array:
        along = (dc * np.cos(turn) - dr * np.sin(turn)) / (half * long)
        across = (dr * np.cos(turn) + dc * np.sin(turn)) / half
        edge = np.maximum(1 - np.abs(along) ** 2.2, 0)
        inside = edge - np.abs(across)
        share = np.clip(across / np.maximum(edge, 1e-3), -1, 1)
        top = 0.75 * half * edge**0.5 * np.sqrt(1 - share**2)
        row_ = np.mod(along * half * long / (0.75 * pitch), 1) - 0.5
        pore = np.mod(np.abs(across) * half / (0.6 * pitch), 1) - 0.5
        hole = (np.hypot(row_ * 0.75, pore * 0.6) < 0.22) & (np.abs(across) > 0.16) & (np.abs(share) < 0.9)
        slit = (np.abs(across) < 0.035) & (np.abs(along) < 0.92) & (np.abs(along) > 0.05)
        top = top - np.where(hole, 0.3 * pitch, 0) - np.where(slit, 0.12 * half, 0)
        top = top + np.where(np.abs(across) < 0.11, 0.04 * half, 0)
        return np.where(inside >= 0, top, -np.inf).astype(np.float32)

    return height


def blood_cells(view: View) -> Drawing:
    """Red blood cells: biconcave discs lying over each other, a few spiky ones among them."""
    unit, specimen, place = view.unit, view.specimen, view.place
    size, crowd = specimen.uniform(32, 78), specimen.uniform(0.35, 1.3)
    scene = _ground(view, specimen.uniform(0.12, 0.28), specimen.uniform(0.3, 2))
    tone, odd = float(specimen.uniform(0.5, 0.7)), specimen.choice([0.0, 0.06, 0.15])
    height, width = view.extent
    for level in range(int(np.clip(crowd * height * width / (np.pi * size**2), 4, 110))):
        radius = size * place.normal(1, 0.05) * unit
        row, col = place.uniform(-size, height + size) * unit, place.uniform(-size, width + size) * unit
        label = scene.new_label()
        lift = (0.25 + 0.015 * level) * radius
        if place.random() < odd:
            _spiky_cell(scene, np.array([row, col]), 0.7 * radius, lift, tone, label, place)
        else:
            tilt, turn = abs(place.normal(0, 0.35)), place.uniform(0, 2 * np.pi)
            scene.put(_biconcave(radius, min(tilt, 1.0), turn), (row, col), 1.1 * radius, lift, tone, label)
    _texture(scene, view, 0.25, 25)
    return _with_truth(scene, view)


def _biconcave(radius: float, tilt: float, turn: float) -> Solid:
    """The resting red cell, z(ρ) = R √(1-ρ²) (c₀ + c₁ρ² + c₂ρ⁴), tipped a little.

    Evans and Fung, Microvascular Research 4 (1972) 335.
    """
    squash, lean = np.cos(tilt), np.tan(min(tilt, 0.9))

    def height(dr: Array, dc: Array) -> Array:
        along = dr * np.sin(turn) + dc * np.cos(turn)
        across = (dr * np.cos(turn) - dc * np.sin(turn)) / squash
        share = (along**2 + across**2) / np.float32(radius**2)
        rest = np.sqrt(np.maximum(1 - share, 0))
        thick = radius * rest * (0.207 + 2.003 * share - 1.123 * share**2)
        return np.where(share <= 1, 0.75 * thick + 0.5 * lean * across * squash, -np.inf).astype(np.float32)

    return height


def _spiky_cell(
    scene: Scene,
    centre: NDArray[np.float64],
    radius: float,
    lift: float,
    tone: float,
    label: int,
    place: np.random.Generator,
) -> None:
    scene.put(ball(radius), (centre[0], centre[1]), radius, lift, tone, label)
    turned = _spread_on_sphere(26) @ _rotation(place).T
    for out in turned[turned[:, 2] > 0.0]:
        spot = centre + 0.92 * radius * out[:2]
        scene.put(
            ball(0.2 * radius, 1.6),
            (spot[0], spot[1]),
            0.2 * radius,
            lift + 0.92 * radius * out[2],
            tone,
            label,
        )


def bacteria(view: View) -> Drawing:
    """Rod-shaped bacteria, some dividing, or chains and clusters of cocci, on a filter or tissue."""
    unit, specimen, place = view.unit, view.specimen, view.place
    rods = view.variety == "rod-shaped bacteria"
    size = specimen.uniform(13, 30)
    slender, crowd = specimen.uniform(2.2, 4.5), specimen.uniform(0.15, 0.7)
    scene = _ground(view, specimen.uniform(0.14, 0.3), specimen.uniform(1, 5))
    if specimen.random() < 0.45:
        _filter_pores(scene, view)
    tone = float(specimen.uniform(0.5, 0.75))
    height, width = view.extent
    area = size**2 * (4 * slender if rods else 3.1)
    number = int(np.clip(crowd * height * width / area, 6, 120))
    spots = [place.uniform(0, 1, 2) * [height, width] for _ in range(number if rods else max(2, number // 7))]
    for spot in spots:
        if rods:
            _rod_cell(
                scene, spot * unit, size * unit, slender * np.exp(place.normal(0, 0.2)), tone, place, unit
            )
        else:
            _coccus_chain(scene, spot * unit, size * unit, int(place.integers(3, 12)), tone, place)
    _texture(scene, view, 0.3, 18)
    return _with_truth(scene, view, length("cell_width", 2 * size * unit, view.pixel_size_nm))


def _rod_cell(
    scene: Scene,
    spot: NDArray[np.float64],
    radius: float,
    slender: float,
    tone: float,
    place: np.random.Generator,
    unit: float,
) -> None:
    path = walk(
        (spot[0], spot[1]), place.uniform(0, np.pi), 2 * radius * slender, 0.12, place, 90 * unit, 0.7
    )
    at = np.linspace(-1, 1, len(path)) * slender
    cap = np.sqrt(np.maximum(1 - np.maximum(np.abs(at) - slender + 1, 0) ** 2, 0.02))
    pinch = 1 - 0.4 * np.exp(-((at / 0.25) ** 2)) if place.random() < 0.2 else 1.0
    z = place.uniform(0.5, 1.6) * radius
    tube(scene, path, radius * cap * pinch, z, tone * place.normal(1, 0.04), scene.new_label())


def _coccus_chain(
    scene: Scene,
    spot: NDArray[np.float64],
    radius: float,
    number: int,
    tone: float,
    place: np.random.Generator,
) -> None:
    heading = place.uniform(0, 2 * np.pi)
    for _ in range(number):
        size = radius * place.normal(1, 0.05)
        scene.put(
            lump(size, place, 0.02, 1.0), (spot[0], spot[1]), 1.3 * size, radius, tone, scene.new_label()
        )
        heading += place.normal(0, 0.6)
        spot = spot + 1.85 * radius * np.array([np.sin(heading), np.cos(heading)])


def _filter_pores(scene: Scene, view: View) -> None:
    """The round pores of a track-etched membrane."""
    rows, cols = np.indices(view.shape, dtype=np.float32)
    radius = view.specimen.uniform(4, 8) * view.unit
    for row, col in view.place.uniform(0, 1, (40, 2)) * view.shape:
        r0, c0 = max(0, int(row - radius - 2)), max(0, int(col - radius - 2))
        here = (slice(r0, int(row + radius + 3)), slice(c0, int(col + radius + 3)))
        hole = np.hypot(rows[here] - row, cols[here] - col) < radius
        scene.height[here][hole] -= 3 * radius
        scene.tone[here][hole] *= 0.3


def butterfly_scales(view: View) -> Drawing:
    """Wing scales in overlapping rows, each with fine longitudinal ridges and a toothed end."""
    unit, specimen, place = view.unit, view.specimen, view.place
    wide, ridge = specimen.uniform(60, 130), specimen.uniform(4, 9)
    long = wide * specimen.uniform(1.6, 2.4)
    teeth, turn = int(specimen.integers(0, 6)), specimen.uniform(-0.5, 0.5)
    scene = _ground(view, 0.2, 2)
    scene.height -= 60 * unit
    height, width = view.extent
    reach = np.hypot(height, width) / 2 + long
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    row_step, tone = 0.42 * long, float(specimen.uniform(0.5, 0.7))
    for number, down in enumerate(np.arange(reach, -reach, -row_step)):
        for right in np.arange(-reach, reach, 0.92 * wide) + 0.46 * wide * (number % 2):
            lean = turn + place.normal(0, 0.05)
            middle = np.array([down, right]) + place.normal(0, 0.04 * wide, 2)
            centre = (rotation @ middle + np.array([height, width]) / 2) * unit
            solid = _scale(wide * unit / 2, long * unit / 2, ridge * unit, teeth, -lean, place)
            level = (number * 7 + place.normal(0, 1.0)) * unit
            label = scene.new_label()
            tint = tone * place.normal(1, 0.06)
            scene.put(
                solid, (centre[0], centre[1]), 1.05 * np.hypot(wide, long) / 2 * unit, level, tint, label
            )
    more = length("ridge_pitch", ridge * unit, view.pixel_size_nm)
    return _with_truth(scene, view, more)


def _scale(
    half: float, long: float, ridge: float, teeth: int, turn: float, rng: np.random.Generator
) -> Solid:
    """One scale, its free end down: a rounded plate that rises towards that end, ridged, with cross ribs."""
    phase, curl = rng.uniform(0, 6, 2), rng.uniform(0.05, 0.14)

    def height(dr: Array, dc: Array) -> Array:
        down = dr * np.cos(turn) - dc * np.sin(turn)
        right = dr * np.sin(turn) + dc * np.cos(turn)
        along, across = down / long, right / half
        lobes = 0.07 * np.cos(teeth * np.pi * across) if teeth else np.float32(0)
        outline = np.minimum(0.95 + lobes - 0.25 * across**2 - along, 1 - np.abs(across) ** 3)
        inside = np.minimum(outline, along + 1)
        top = curl * half * 4 * np.clip(along + 0.5, 0, 2) - 0.1 * half * across**2
        top = top + 0.22 * ridge * np.abs(np.sin(np.pi * right / ridge + phase[0]))
        top = top + 0.06 * ridge * np.sin(2 * np.pi * down / (0.7 * ridge) + phase[1])
        return np.where(inside >= 0, top, -np.inf).astype(np.float32)

    return height


ORGANISMS = (
    Variety("spiny pollen grains", spiny_pollen, 40, 200, 1.2),
    Variety("netted pollen grains", netted_pollen, 50, 200),
    Variety("centric diatoms", diatoms, 40, 180),
    Variety("pennate diatoms", diatoms, 40, 150),
    Variety("red blood cells", blood_cells, 25, 60, 1.2),
    Variety("rod-shaped bacteria", bacteria, 8, 25, 1.2),
    Variety("chains of cocci", bacteria, 8, 25, 0.7),
    Variety("butterfly wing scales", butterfly_scales, 150, 600, 1.2),
)
