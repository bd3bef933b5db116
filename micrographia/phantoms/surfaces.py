"""Films and coated surfaces: grains, mud cracks, wrinkles and blisters, layers in cross-section, pinholes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from micrographia.phantoms.fields import Array, border_distance, cells, rough, scattered, soften
from micrographia.phantoms.scene import Drawing, Scene, Solid, Variety, View
from micrographia.phantoms.solids import lump
from micrographia.phantoms.truth import Truth, count, degrees, length, lengths, percent


def grains(view: View) -> Drawing:
    """A polycrystalline film from above: domed or facetted grains with grooves between them."""
    unit, specimen = view.unit, view.specimen
    spacing = float(np.exp(specimen.uniform(np.log(14), np.log(60))))
    groove, facetted = specimen.uniform(0.08, 0.2), specimen.random() < 0.6
    jitter = specimen.uniform(0.2, 0.4)
    points = scattered(view.extent, spacing, view.place, jitter) * unit
    index, near = cells(view.shape, points)
    border = border_distance(points, index, near)
    scene = Scene.flat(view.shape, 0.5)
    own = index[0]
    depth = np.minimum(border / (groove * spacing * unit), 1)
    scene.height = (0.14 * spacing * unit * np.sqrt(np.maximum(depth * (2 - depth), 0))).astype(np.float32)
    if facetted:
        slope = view.place.normal(0, 0.22, (len(points), 2))
        offset = np.indices(view.shape) - points[own].transpose(2, 0, 1)
        scene.height += (slope[own].transpose(2, 0, 1) * offset).sum(axis=0).astype(np.float32)
    scene.height += view.place.normal(0, 0.05 * spacing * unit, len(points))[own].astype(np.float32)
    scene.height += rough(view.shape, view.grain, 0.5, 12 * unit, 2.5) * 0.12 * unit
    scene.tone *= (1 + view.place.normal(0, 0.1, len(points)))[own].astype(np.float32)
    scene.mark(np.where(border > 1, own + 1, 0))
    return _cellular(scene, view, spacing, "grain")


def cracks(view: View) -> Drawing:
    """A dried or strained coating: islands between open cracks, their rims a little raised."""
    unit, specimen = view.unit, view.specimen
    spacing = float(np.exp(specimen.uniform(np.log(50), np.log(150))))
    gap, curl = specimen.uniform(2.5, 9), specimen.uniform(0, 0.6)
    points = scattered(view.extent, spacing, view.place, specimen.uniform(0.25, 0.5)) * unit
    shake = np.stack([rough(view.shape, view.grain, 0.8, 60 * unit, 4) for _ in range(2)]) * 3 * unit
    index, near = cells(view.shape, points, shake)
    border = border_distance(points, index, near)
    width = gap * unit / 2 * (1 + 0.35 * rough(view.shape, view.grain, 1.0, 150 * unit, 8))
    solid = border > np.maximum(width, 0.6)
    scene = Scene.flat(view.shape, specimen.uniform(0.45, 0.65))
    thick = specimen.uniform(14, 30) * unit
    rim = np.exp(-np.maximum(border - width, 0) / (0.12 * spacing * unit))
    lift = view.place.normal(0, 0.12, len(points))[index[0]]
    scene.height = np.where(solid, thick * (1 + curl * rim + lift), 0).astype(np.float32)
    scene.height += _film_texture(view)
    scene.tone[~solid] *= 0.4
    scene.mark(np.where(solid, index[0] + 1, 0))
    return _cellular(scene, view, spacing, "island")


def _cellular(scene: Scene, view: View, spacing: float, name: str) -> Drawing:
    objects = scene.objects()
    whole = np.array([o.equivalent_diameter_px for o in objects if o.whole])
    quantities = count("count", len(objects)) | percent("area_fraction", float((scene.label > 0).mean()))
    quantities |= lengths(f"{name}_diameter", whole, view.pixel_size_nm)
    quantities |= length(f"{name}_spacing", spacing * view.unit, view.pixel_size_nm)
    if name == "island":
        quantities |= percent("crack_area_fraction", float((scene.label == 0).mean()))
    return scene, Truth(variety=view.variety, quantities=quantities, objects=objects)


def _film_texture(view: View) -> Array:
    amplitude, finest = view.specimen.uniform(0.1, 0.7) * view.unit, view.specimen.uniform(2.5, 6)
    return rough(view.shape, view.grain, 0.4, 25 * view.unit, finest) * np.float32(amplitude)


def wrinkles(view: View) -> Drawing:
    """A compressed film that has buckled into a wavy pattern of one wavelength, ordered or a labyrinth."""
    unit, specimen = view.unit, view.specimen
    wavelength = specimen.uniform(18, 60)
    ordered = specimen.random() < 0.45
    along = specimen.uniform(0, 180)
    scene = Scene.flat(view.shape, specimen.uniform(0.4, 0.6))
    rows, cols = view.shape
    # Twice the frame, so that the wavelength is resolved in frequency and the field does not repeat.
    white = np.fft.rfft2(view.grain.standard_normal((2 * rows, 2 * cols)))
    q_row, q_col = np.fft.fftfreq(2 * rows)[:, None], np.fft.rfftfreq(2 * cols)[None]
    q, target = np.hypot(q_row, q_col), 1 / (wavelength * unit)
    ring = np.exp(-(((q - target) / (0.09 * target)) ** 2) / 2)
    if ordered:
        normal = np.deg2rad(along + 90)
        off = (q_col * np.sin(normal) + q_row * np.cos(normal)) / np.maximum(q, 1e-9)
        ring *= np.exp(-((off / 0.16) ** 2) / 2)
    wave = np.fft.irfft2(white * ring, s=(2 * rows, 2 * cols))[:rows, :cols]
    wave = np.tanh(1.4 * wave / wave.std())
    scene.height = (wave * specimen.uniform(0.07, 0.16) * wavelength * unit).astype(np.float32)
    scene.height += _film_texture(view) * 0.4
    quantities = length("wavelength", wavelength * unit, view.pixel_size_nm)
    if ordered:
        quantities |= degrees("orientation_deg", along)
    words = {"order": "aligned" if ordered else "labyrinth"}
    return scene, Truth(variety=view.variety, quantities=quantities, words=words)


def blisters(view: View) -> Drawing:
    """A coating that has come off the substrate in round blisters, some of them burst open."""
    unit, specimen, place = view.unit, view.specimen, view.place
    scene = Scene.flat(view.shape, specimen.uniform(0.45, 0.6))
    size, burst, rise = specimen.uniform(20, 55), specimen.uniform(0.1, 0.5), specimen.uniform(0.45, 0.75)
    height, width = view.extent
    spots: list[tuple[float, float, float]] = []
    for _ in range(int(specimen.uniform(60, 160))):
        radius = size * np.exp(place.normal(0, 0.3))
        row, col = place.uniform(0, height), place.uniform(0, width)
        if all(np.hypot(row - r, col - c) > 1.15 * (radius + s) for r, c, s in spots) and len(spots) < 28:
            spots.append((row, col, radius))
    for row, col, radius in spots:
        centre = (row * unit, col * unit)
        label, reach = scene.new_label(), 1.6 * radius * unit
        scene.put(_dome(radius * unit, place, rise), centre, reach, 0, float(scene.tone[0, 0]), label)
        if place.random() < burst:
            _burst(scene, lump(0.55 * radius * unit, place, 0.25), centre, label)
    scene.height += _film_texture(view)
    scene.height += soften(rough(view.shape, view.grain, 0.9), 3 * unit) * unit
    objects = scene.objects()
    diameters = np.array([o.equivalent_diameter_px for o in objects])
    quantities = count("count", len(objects)) | percent("area_fraction", float((scene.label > 0).mean()))
    quantities |= lengths("blister_diameter", diameters, view.pixel_size_nm)
    return scene, Truth(variety=view.variety, quantities=quantities, objects=objects)


def _dome(radius: float, rng: np.random.Generator, rise: float) -> Solid:
    """A blister ``rise`` radii high that meets the film without an edge: (1 - ρ²)² over its outline."""
    body = lump(1.0, rng, 0.05, 1.0)

    def height(dr: Array, dc: Array) -> Array:
        return radius * rise * np.sign(top := body(dr / radius, dc / radius)) * top**4

    return height


def _burst(scene: Scene, hole: Solid, centre: tuple[float, float], label: int) -> None:
    rows, cols = np.ogrid[: scene.shape[0], : scene.shape[1]]
    opened = np.isfinite(hole(rows - np.float32(centre[0]), cols - np.float32(centre[1])))
    opened &= scene.label == label
    scene.height[opened] = -6
    scene.tone[opened] *= 0.4


def section(view: View) -> Drawing:
    """A broken edge seen from the side: substrate, one or more films on it, vacuum above."""
    unit, specimen = view.unit, view.specimen
    layers = int(specimen.integers(1, 4))
    thickness = specimen.uniform(50, 150, layers) / np.sqrt(layers)
    tones = specimen.permutation(np.array([0.35, 0.55, 0.75, 0.95]))[:layers]
    columnar = specimen.random(layers) < 0.6
    bed = float(view.place.uniform(0.62, 0.8)) * view.shape[0]
    rows = np.arange(view.shape[0], dtype=np.float32)[:, None] * np.ones(view.shape, np.float32)
    scene = Scene.flat(view.shape, 0.28)
    scene.height += rough(view.shape, view.grain, 0.8, 90 * unit, 3) * 0.5 * unit
    _scratches(scene, view, int(specimen.integers(0, 5)))
    floor = np.full(view.shape[1], bed)
    for number in range(layers):
        roof = floor - thickness[number] * unit
        wavy = (
            0
            if number + 1 < layers
            else 1.6 * unit * rough((2, view.shape[1]), view.grain, 0.4, 20 * unit)[0]
        )
        inside = (rows < floor[None]) & (rows >= roof[None] + wavy)
        scene.tone[inside] = tones[number] * 0.75
        scene.height[inside] += (number + 1) * 2.5 * unit
        scene.label[inside] = number + 1
        if columnar[number]:
            scene.height[inside] += _columns(view, thickness[number])[inside]
        floor = roof
    above = rows < (floor[None] + wavy)
    if specimen.random() < 0.6:
        _receding_top(scene, view, above, float(tones[-1]))
    else:
        scene.height[above] = -60 * unit
        scene.tone[above] = 0.05
    return _layered(scene, view, thickness)


def _receding_top(scene: Scene, view: View, above: NDArray[np.bool_], tone: float) -> None:
    """The upper face of the film behind the broken edge, foreshortened by a slight tilt."""
    unit, specimen = view.unit, view.specimen
    rows, cols = view.shape
    relief = rough((4 * rows, cols), view.grain, 0.4, 22 * unit, 4)[::4] * np.float32(
        specimen.uniform(0.6, 2.2) * unit
    )
    scene.height[above] = relief[above] - 2 * unit
    scene.tone[above] = 0.6 * tone


def _columns(view: View, thickness: float) -> Array:
    """Upright columnar grains as a fracture shows them."""
    spacing = max(3.0, 0.09 * thickness * view.unit)
    noise = rough((24, view.shape[1]), view.grain, 0.0, 3 * spacing, spacing)
    ridges = ndimage.zoom(noise, (view.shape[0] / 24, 1), order=1)
    return np.asarray(np.clip(ridges, -1.5, 1.5) * 0.9 * view.unit, np.float32)


def _layered(scene: Scene, view: View, thickness: NDArray[np.float64]) -> Drawing:
    quantities = count("layer_count", len(thickness))
    for number, thick in enumerate(thickness, start=1):
        quantities |= length(f"layer_{number}_thickness", thick * view.unit, view.pixel_size_nm)
    quantities |= length("film_thickness", float(thickness.sum()) * view.unit, view.pixel_size_nm)
    scene.label[:] = 0
    return scene, Truth(variety=view.variety, quantities=quantities, words={"view": "cross-section"})


def pinholes(view: View) -> Drawing:
    """A smooth coating with pinholes and a few particles under it; scratches where it was wiped."""
    unit, specimen, place = view.unit, view.specimen, view.place
    scene = Scene.flat(view.shape, specimen.uniform(0.4, 0.6))
    scene.height += _film_texture(view) + rough(view.shape, view.grain, 1.0) * 1.5 * unit
    scene.tone *= 1 + 0.08 * rough(view.shape, view.grain, 1.3)
    size, number = specimen.uniform(4, 14), int(specimen.integers(12, 90))
    height, width = view.extent
    _scratches(scene, view, int(specimen.integers(0, 7)))
    for _ in range(number):
        radius = max(1.6, size * np.exp(place.normal(0, 0.35)) * unit)
        centre = place.uniform(0, height) * unit, place.uniform(0, width) * unit
        _punch(scene, lump(radius, place, 0.1), centre, 2 * radius)
    objects = scene.objects()
    diameters = np.array([o.equivalent_diameter_px for o in objects])
    quantities = count("pinhole_count", len(objects))
    quantities |= percent("pinhole_area_fraction", float((scene.label > 0).mean()))
    quantities |= lengths("pinhole_diameter", diameters, view.pixel_size_nm)
    return scene, Truth(variety=view.variety, quantities=quantities, objects=objects)


def _punch(scene: Scene, outline: Solid, centre: tuple[float, float], reach: float) -> None:
    """Sink a hole that does not touch another: its outline is that of a solid."""
    r0, c0 = (max(0, int(v - reach)) for v in centre)
    here = (slice(r0, int(centre[0] + reach) + 1), slice(c0, int(centre[1] + reach) + 1))
    rows = np.arange(r0, r0 + scene.label[here].shape[0], dtype=np.float32)[:, None] - np.float32(centre[0])
    cols = np.arange(c0, c0 + scene.label[here].shape[1], dtype=np.float32)[None] - np.float32(centre[1])
    inside = np.isfinite(outline(rows, cols))
    if not inside.any() or (ndimage.maximum_filter(scene.label[here], 3)[inside] > 0).any():
        return
    label, area = scene.new_label(), int(inside.sum())
    scene.height[here][inside] -= 0.9 * reach
    scene.tone[here][inside] *= 0.35
    scene.label[here][inside] = label
    scene.footprint[label], scene.drawn[label] = float(area), area
    ends = (0 in np.nonzero(inside)[0] + r0) or (0 in np.nonzero(inside)[1] + c0)
    ends |= (
        scene.shape[0] - 1 in np.nonzero(inside)[0] + r0 or scene.shape[1] - 1 in np.nonzero(inside)[1] + c0
    )
    if ends:
        scene.cut.add(label)


def _scratches(scene: Scene, view: View, number: int) -> None:
    rows, cols = np.indices(view.shape, dtype=np.float32)
    for _ in range(number):
        angle, at = view.place.uniform(0, np.pi), view.place.uniform(0, 1, 2) * view.shape
        across = (rows - at[0]) * np.cos(angle) + (cols - at[1]) * np.sin(angle)
        wide = view.place.uniform(1, 2.5) * view.unit
        groove = np.exp(-((across / wide) ** 2)) - 0.5 * np.exp(-(((np.abs(across) - 2 * wide) / wide) ** 2))
        scene.height -= (2.2 * view.unit * groove).astype(np.float32)


FILMS = (
    Variety("a polycrystalline film", grains, 0.8, 15, 1.3),
    Variety("a cracked coating", cracks, 5, 400, 1.3),
    Variety("a wrinkled film", wrinkles, 4, 120),
    Variety("a blistered coating", blisters, 20, 400, 0.8),
    Variety("a film in cross-section", section, 1, 25, 1.3),
    Variety("a coating with pinholes", pinholes, 5, 150, 0.8),
)
