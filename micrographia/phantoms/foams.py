"""Porous sponges: open-cell foams, monoliths of spherical pores, networks; with depth behind the pores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from micrographia.phantoms.fields import Array, border_distance, cells, rough, scattered, soften
from micrographia.phantoms.scene import Drawing, Scene, Variety, View
from micrographia.phantoms.truth import Truth, count, lengths, percent
from micrographia.records import Quantity

Mask = NDArray[np.bool_]
SMALLEST_PORE_PX = 12


def foam(view: View) -> Drawing:
    """An open-cell foam: layers of struts along cell borders, each deeper, seen through the pores above."""
    unit, specimen = view.unit, view.specimen
    spacing = float(np.exp(specimen.uniform(np.log(42), np.log(120))))
    strut = specimen.uniform(0.09, 0.2) * spacing
    round_off, uneven = specimen.uniform(0.25, 0.6), specimen.uniform(0.25, 0.42)
    scene = Scene.flat(view.shape, 0.5)
    scene.height -= 3.0 * spacing * unit
    scene.tone *= 0.4
    pores = np.zeros(view.shape, bool)
    for depth in (2.0, 1.2, 0.0):
        # What lies deep is dim: half the resolution is enough there, at a quarter of the time.
        thick, border = _strut_layer(view, spacing, strut, round_off, uneven, 2 if depth else 1)
        sag = 0.25 * spacing * unit * soften(rough(view.shape, view.grain, 1.0, 4 * spacing * unit), 4 * unit)
        share = np.clip(border / thick, 0, 1)
        top = thick * np.sqrt(1 - share**2) + sag - depth * spacing * unit
        solid = border < thick
        seen = solid & (top > scene.height)
        scene.height[seen] = top[seen]
        scene.tone[seen] = 0.55 * (1 - 0.16 * depth)
        pores = ~solid
    scene.height += _skin(view) * ~pores
    return _with_pores(scene, view, pores)


def _strut_layer(
    view: View, spacing: float, strut: float, round_off: float, uneven: float, every: int
) -> tuple[Array, Array]:
    """Half the thickness of struts along Voronoi borders, more at the nodes, and the distance from borders.

    Worked out at one of ``every`` pixels along each side and interpolated between them.
    """
    unit = view.unit / every
    shape = -(-view.shape[0] // every), -(-view.shape[1] // every)
    points = scattered(view.extent, spacing, view.place, uneven) * unit
    bend = np.stack([rough(shape, view.grain, 1.0, spacing * unit, 6 / every) for _ in range(2)])
    index, near = cells(shape, points, bend * 0.05 * spacing * unit)
    node = np.exp(-(near[2] - near[0]) / (round_off * spacing * unit))
    thick = np.maximum(strut * unit * (0.55 + 1.1 * node), 0.8)
    layer = thick, border_distance(points, index, near)
    if every == 1:
        return layer
    zoom = np.array(view.shape) / shape
    thick, border = (ndimage.zoom(every * values, zoom, order=1) for values in layer)
    return thick, border


def bubbles(view: View) -> Drawing:
    """A monolith of spherical pores that touch: bowls with dark windows into those beneath."""
    unit, specimen = view.unit, view.specimen
    spacing = float(np.exp(specimen.uniform(np.log(30), np.log(95))))
    scene = Scene.flat(view.shape, 0.55)
    points = scattered(view.extent, spacing, view.place, specimen.uniform(0.08, 0.3)) * unit
    radii = spacing * unit * view.place.normal(0.52, 0.07, len(points)).clip(0.25, 0.75)
    cut = view.place.uniform(0.0, 0.5, len(points)) * radii
    index, near = cells(view.shape, points, neighbours=4)
    depth = np.zeros(view.shape, np.float32)
    for k in range(4):
        r, c = radii[index[k]], cut[index[k]]
        bowl = np.sqrt(np.maximum(r**2 - near[k] ** 2, 0)) - c
        depth = np.maximum(depth, np.where(near[k] < r, bowl, 0).astype(np.float32))
    pores = depth > 0.04 * spacing * unit
    scene.height = -depth
    _windows(scene, view, points, radii, index[0], near[0], pores)
    scene.height += _skin(view)
    return _with_pores(scene, view, pores)


def _windows(
    scene: Scene,
    view: View,
    points: NDArray[np.float64],
    radii: NDArray[np.float64],
    own: NDArray[np.intp],
    near: Array,
    pores: Mask,
) -> None:
    """Openings in the wall of each bowl towards its neighbours below, three or so to a pore."""
    throat = view.specimen.uniform(0.2, 0.38)
    rows, cols = np.indices(scene.shape, dtype=np.float32)
    for _ in range(3):
        angle = view.place.uniform(0, 2 * np.pi, len(points))
        out = radii * view.place.uniform(0.25, 0.6, len(points))
        size = radii * throat * view.place.uniform(0.6, 1.2, len(points))
        spot = points + (out * np.array([np.sin(angle), np.cos(angle)])).T
        away = np.hypot(rows - spot[own, 0], cols - spot[own, 1])
        opened = pores & (away < size[own]) & (near < 0.92 * radii[own])
        scene.height[opened] -= (0.9 * radii[own])[opened].astype(np.float32)
        scene.tone[opened] *= 0.45


def network(view: View) -> Drawing:
    """A bicontinuous or sintered network, coral-like: several levels of a random field cut at a threshold."""
    unit, specimen = view.unit, view.specimen
    spacing = float(np.exp(specimen.uniform(np.log(14), np.log(55))))
    fill, lumpy = specimen.uniform(0.32, 0.55), specimen.uniform(0.0, 1.0)
    scene = Scene.flat(view.shape, 0.2)
    scene.height -= 2.5 * spacing * unit
    pores = np.zeros(view.shape, bool)
    for depth in (1.6, 0.8, 0.0):
        field = soften(
            rough(view.shape, view.grain, 0.0, 2.2 * spacing * unit, 0.6 * spacing * unit), 0.8 * unit
        )
        level = np.quantile(field, 1 - fill)
        solid = field > level
        inner = ndimage.distance_transform_edt(solid).astype(np.float32)
        width = max(2.0, 0.45 * spacing * unit)
        round_top = width * np.sqrt(1 - (1 - np.clip(inner / width, 0, 1)) ** 2)
        top = (round_top - depth * spacing * unit).astype(np.float32)
        seen = solid & (top > scene.height)
        scene.height[seen] = top[seen]
        scene.tone[seen] = 0.55 * (1 - 0.22 * depth)
        pores = ~solid
    scene.height += lumpy * rough(view.shape, view.grain, 0.3, 8 * unit, 2.5) * 0.5 * unit
    # Its pores run into each other all over the field, so there is nothing to count.
    return scene, Truth(variety=view.variety, quantities=_porosity(pores))


def _skin(view: View) -> Array:
    amplitude = view.specimen.uniform(0.1, 0.5) * view.unit
    return rough(view.shape, view.grain, 0.5, 18 * view.unit, 2.5) * np.float32(amplitude)


def _with_pores(scene: Scene, view: View, pores: Mask) -> Drawing:
    """The connected pores of the uppermost layer are the objects, if of at least a few pixels."""
    scene.mark(ndimage.label(pores)[0])
    objects = scene.objects(SMALLEST_PORE_PX)
    diameters = np.array([o.equivalent_diameter_px for o in objects])
    more = count("pore_count", len(objects)) | lengths("pore_diameter", diameters, view.pixel_size_nm)
    return scene, Truth(variety=view.variety, quantities=_porosity(pores) | more, objects=objects)


def _porosity(pores: Mask) -> dict[str, Quantity]:
    return percent("porosity", float(pores.mean())) | percent("area_fraction", float(1 - pores.mean()))


SPONGES = (
    Variety("an open-cell foam", foam, 50, 2500, 1.3),
    Variety("a monolith of spherical pores", bubbles, 2, 200),
    Variety("a porous network", network, 1, 80),
)
