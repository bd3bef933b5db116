"""Fibres (spun mats, cloth, bundles) and nanowires (forests, nets, facetted rods)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from micrographia.phantoms.fields import rough
from micrographia.phantoms.scene import Drawing, Scene, Variety, View
from micrographia.phantoms.solids import ball, prism_planes, resampled, sized, tube, walk
from micrographia.phantoms.truth import Truth, count, directions, lengths, percent

STEP = 0.7
"""Pixels between the points of a swept curve."""


def fibres(view: View, lay: Lay) -> Drawing:
    """Long fibres, slightly rough."""
    scene, drawn = lay(view)
    scene.height += 0.25 * view.unit * rough(view.shape, view.grain, 0.5, 10 * view.unit, 2.5)
    return _with_truth(scene, drawn, view)


def nanowires(view: View, lay: Lay) -> Drawing:
    """Thin straight wires, smooth."""
    return _with_truth(*lay(view), view)


class Drawn:
    """What has been laid: diameter, length and direction of every strand by its label, pixels and degrees."""

    def __init__(self) -> None:
        self.diameter: dict[int, float] = {}
        self.length: dict[int, float] = {}
        self.angle: dict[int, float] = {}
        self.width: dict[int, float] = {}
        """Mean width within the field; a rod seen on its end has none."""

    def add(self, label: int, path: NDArray[np.float64], diameter: float, width: float | None = None) -> None:
        """Remember a strand by the (row, column) points of its axis; it is ``diameter`` wide if not told."""
        step = np.diff(path, axis=0)
        size = np.linalg.norm(step, axis=1)
        heading = np.exp(2j * np.arctan2(-step[:, 0], step[:, 1]))
        self.diameter[label] = diameter
        self.width[label] = diameter if width is None else width
        self.length[label] = float(size.sum())
        self.angle[label] = float(np.rad2deg(np.angle((heading * size).sum())) / 2 % 180)


def _within(path: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    return path[_is_within(path, shape)]


def _is_within(path: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    return np.asarray(((path >= 0) & (path < np.array(shape))).all(axis=1))


def _with_truth(scene: Scene, drawn: Drawn, view: View) -> Drawing:
    kept = [label for label in drawn.diameter if (scene.label == label).sum() >= 6]
    objects = tuple(
        one.model_copy(update={"width_px": drawn.width.get(label)})
        for one, label in zip(scene.objects(), kept, strict=True)
    )
    diameters = np.array([drawn.diameter[k] for k in kept])
    quantities = count("count", len(objects)) | percent("area_fraction", float((scene.label > 0).mean()))
    quantities |= percent("porosity", float((scene.label == 0).mean()))
    quantities |= lengths("diameter", diameters, view.pixel_size_nm)
    quantities |= directions(
        np.array([drawn.angle[k] for k in kept]), np.array([drawn.length[k] for k in kept])
    )
    return scene, Truth(variety=view.variety, quantities=quantities, objects=objects)


def _lay(
    scene: Scene,
    drawn: Drawn,
    path: NDArray[np.float64],
    diameter: float,
    z: NDArray[np.float64] | float,
    tone: float,
) -> int:
    """One plain strand with a label of its own, if it passes the field."""
    seen = _within(path, scene.shape)
    label = scene.new_label()
    if len(seen) < 3:
        return 0
    tube(scene, path, diameter / 2, z, tone, label)
    if label in scene.footprint:
        drawn.add(label, seen, diameter)
    return label


def _spun(view: View, aligned: bool = False, beaded: bool = False) -> tuple[Scene, Drawn]:
    """Layers of long wandering fibres over a dark ground, the deep ones first."""
    unit, specimen, place = view.unit, view.specimen, view.place
    thick = float(np.exp(specimen.uniform(np.log(4.5), np.log(24 if not beaded else 9))))
    spread = specimen.uniform(0.05, 0.35)
    along = specimen.uniform(0, np.pi)
    fan = specimen.uniform(0.08, 0.25) if aligned else np.pi
    wander = specimen.uniform(0.03, 0.12) if aligned else specimen.uniform(0.08, 0.5)
    cover = specimen.uniform(1.0, 2.8)
    material = specimen.uniform(0.5, 0.8)
    height, width = view.extent
    long = 1.5 * (height + width)
    number = int(np.clip(cover * height * width / (thick * 0.75 * width), 8, 170))
    scene, drawn = Scene.flat(view.shape, 0.12), Drawn()
    levels = np.sort(place.uniform(0, 6 * thick * cover, number))
    for level in levels:
        heading = along + (place.normal(0, fan) if aligned else place.uniform(0, np.pi))
        start = (place.uniform(0, height) * unit, place.uniform(0, width) * unit)
        path = walk(start, heading, long * unit, wander, place, 220 * unit, STEP)
        diameter = max(2.0, thick * np.exp(place.normal(0, spread)) * unit)
        bend = level + 0.8 * thick * np.sin(
            np.linspace(0, place.uniform(4, 14), len(path)) + place.uniform(0, 6)
        )
        tone = material * place.normal(1, 0.06)
        label = _lay(scene, drawn, path, diameter, bend * unit, tone)
        if beaded and label and place.random() < 0.5:
            _beads(scene, path, diameter, bend * unit, tone, label, place, unit)
    return scene, drawn


def _beads(
    scene: Scene,
    path: NDArray[np.float64],
    diameter: float,
    z: NDArray[np.float64],
    tone: float,
    label: int,
    place: np.random.Generator,
    unit: float,
) -> None:
    """Spindle-shaped swellings where the jet broke up, part of the fibre they sit on."""
    for _ in range(place.integers(1, 4)):
        middle, half = place.integers(len(path)), place.uniform(14, 34) * unit / STEP
        part = slice(max(0, int(middle - half)), min(len(path), int(middle + half)))
        if part.stop - part.start < 8:
            continue
        bulge = np.sin(np.linspace(0, np.pi, part.stop - part.start)) ** 1.6
        radius = diameter / 2 + place.uniform(6, 13) * unit * bulge
        tube(scene, path[part], radius, z[part], tone * 1.1, label)


def _woven(view: View) -> tuple[Scene, Drawn]:
    """Plain weave: yarns of parallel filaments that pass over and under each other."""
    unit, specimen, place = view.unit, view.specimen, view.place
    pitch = specimen.uniform(75, 150)
    filaments = int(specimen.integers(6, 13))
    turn = specimen.uniform(-0.5, 0.5)
    material = specimen.uniform(0.5, 0.75)
    scene, drawn = Scene.flat(view.shape, 0.1), Drawn()
    height, width = view.extent
    long = 1.3 * np.hypot(height, width)
    at = np.arange(-long / 2, long / 2, STEP / unit)
    thick = 0.92 * pitch / filaments * specimen.uniform(0.95, 1.25)
    shift = place.uniform(0, pitch, 2)
    for weft in (0, 1):
        for k in np.arange(-int(long / pitch / 2) - 1, int(long / pitch / 2) + 2):
            for j in range(filaments):
                across = k * pitch + (j - (filaments - 1) / 2) * 0.9 * pitch / filaments + shift[weft]
                loose = place.normal(0, 0.12) * thick
                sway = loose + 0.35 * thick * np.sin(2 * np.pi * at / (3 * pitch) + place.uniform(0, 6))
                phase = np.pi * (at - shift[1 - weft]) / pitch + np.pi * (k + weft)
                arch = 1 - (2 * (j + 0.5) / filaments - 1) ** 2
                z = 0.16 * pitch * np.cos(phase) + 0.10 * pitch * arch + place.normal(0, 0.15) * thick
                line = np.stack([across + sway, at], axis=1)
                line = line if weft == 0 else line[:, ::-1]
                rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
                path = (line @ rotation + [height / 2, width / 2]) * unit
                _lay(scene, drawn, path, thick * unit, z * unit, material * place.normal(1, 0.05))
    return scene, drawn


def _bundle(view: View) -> tuple[Scene, Drawn]:
    """Thick parallel fibres side by side, as in a carbon or glass tow; a few stray ones cross."""
    unit, specimen, place = view.unit, view.specimen, view.place
    thick = specimen.uniform(26, 70)
    along = specimen.uniform(0, np.pi)
    material = specimen.uniform(0.5, 0.75)
    ribbed = specimen.random() < 0.5
    height, width = view.extent
    long = 1.4 * np.hypot(height, width)
    scene, drawn = Scene.flat(view.shape, 0.1), Drawn()
    normal = np.array([np.cos(along), np.sin(along)])
    for layer in range(3):
        offset = np.arange(-long / 2, long / 2, thick * (1.02 + 0.2 * layer)) + place.uniform(0, thick)
        for shift in offset[place.random(offset.size) < (1.0, 0.85, 0.45)[layer]]:
            stray = place.normal(0, 0.5) if place.random() < 0.06 else place.normal(0, 0.015 + 0.03 * layer)
            centre = np.array([height, width]) / 2 + (shift + place.normal(0, 0.12 * thick)) * normal
            path = walk(
                (centre[0] * unit, centre[1] * unit),
                along + stray,
                long * unit,
                0.02,
                place,
                300 * unit,
                STEP,
            )
            z = (layer * 0.85 + place.normal(0, 0.12)) * thick * unit
            _lay(
                scene, drawn, path, thick * place.normal(1, 0.05) * unit, z, material * place.normal(1, 0.06)
            )
    if ribbed:
        _ribs(scene, along, thick * unit / specimen.uniform(7, 12), 0.02 * thick * unit)
    return scene, drawn


def _ribs(scene: Scene, along: float, period: float, amplitude: float) -> None:
    """Striations parallel to the fibres."""
    rows, cols = np.indices(scene.shape, dtype=np.float32)
    across = rows * np.cos(along) + cols * np.sin(along)
    scene.height += np.where(scene.label > 0, amplitude * np.sin(2 * np.pi * across / period), 0).astype(
        np.float32
    )


def _forest(view: View) -> tuple[Scene, Drawn]:
    """Wires standing on a substrate, seen tilted: they rise up the picture and the near ones hide the far."""
    unit, specimen, place = view.unit, view.specimen, view.place
    thick = specimen.uniform(4, 10)
    tall, lean = specimen.uniform(90, 260), specimen.uniform(0.03, 0.22)
    droplet = specimen.uniform(0.6, 1.1) if specimen.random() < 0.5 else 0.0
    taper = specimen.uniform(0.0, 0.5)
    material = specimen.uniform(0.6, 0.9)
    height, width = view.extent
    density = specimen.uniform(0.25, 1.1)
    number = int(np.clip(density * (height + tall) * width / (thick * tall) * 1.6, 20, 420))
    scene, drawn = Scene.flat(view.shape, 0.16), Drawn()
    scene.height += rough(view.shape, view.grain, 0.5, 30 * unit, 3) * unit
    feet = np.sort(place.uniform(-0.1 * height, height + tall, number))
    for foot in feet:
        length = tall * place.normal(1, 0.15)
        angle = np.pi / 2 + place.normal(0, lean)
        col = place.uniform(-0.1, 1.1) * width
        at = np.arange(0, length, STEP / unit)
        bow = place.normal(0, 0.03) * at**2 / tall
        path = np.stack([foot - at * np.sin(angle), col + at * np.cos(angle) + bow], axis=1) * unit
        diameter = max(2.2, thick * place.normal(1, 0.15) * unit)
        radius = diameter / 2 * (1 - taper * at / length)
        z = (foot + 0.2 * at) * unit * 0.8
        tone = material * place.normal(1, 0.08)
        label = scene.new_label()
        seen = _within(path, scene.shape)
        if len(seen) < 3:
            continue
        fade = 0.35 + 0.65 * np.minimum(1, (at + 10) / (0.7 * tall))
        tube(scene, path, radius, z, tone * fade, label, facets=0.5)
        if label not in scene.footprint:
            continue
        drawn.add(label, seen, diameter, 2 * float(radius[_is_within(path, scene.shape)].mean()))
        if droplet:
            tip = path[-1]
            size = max(1.5, radius[-1] * (1 + 0.6 * droplet))
            scene.put(ball(size), (tip[0], tip[1]), size, z[-1] + 1, min(1.2, tone * 1.35), label)
    return scene, drawn


def _net(view: View) -> tuple[Scene, Drawn]:
    """Straight wires lying across each other on a substrate."""
    unit, specimen, place = view.unit, view.specimen, view.place
    thick = specimen.uniform(3, 8)
    long = specimen.uniform(150, 600)
    sway = specimen.uniform(0.2, 1.0) * np.pi if specimen.random() < 0.7 else specimen.uniform(0.1, 0.3)
    along = specimen.uniform(0, np.pi)
    cover = specimen.uniform(0.3, 1.5)
    material = specimen.uniform(0.6, 0.95)
    height, width = view.extent
    number = int(np.clip(cover * (height + long) * (width + long) / (long * thick * 2.2), 15, 400))
    scene, drawn = Scene.flat(view.shape, specimen.uniform(0.08, 0.25)), Drawn()
    scene.height += rough(view.shape, view.grain, 0.3, 12 * unit, 3) * unit * 0.15
    for level in np.sort(place.uniform(0, 5 * thick * cover, number)):
        start = (
            place.uniform(-long / 3, height + long / 3) * unit,
            place.uniform(-long / 3, width + long / 3) * unit,
        )
        heading = along + place.uniform(-sway, sway) / 2
        length = long * np.exp(place.normal(0, 0.3))
        path = resampled(walk(start, heading, length * unit, 0.012, place, 200 * unit, 4.0), STEP)
        diameter = max(2.2, thick * place.normal(1, 0.12) * unit)
        slope = place.normal(0, 0.02) * np.arange(len(path)) * STEP
        _lay(scene, drawn, path, diameter, level * unit + slope, material * place.normal(1, 0.08))
    return scene, drawn


def _hexagonal(view: View) -> tuple[Scene, Drawn]:
    """Thick hexagonal rods grown upwards with some spread, their end faces towards the observer."""
    unit, specimen, place = view.unit, view.specimen, view.place
    thick = specimen.uniform(11, 30)
    spread, slender = specimen.uniform(0.1, 0.35), specimen.uniform(3.5, 7)
    cover, material = specimen.uniform(0.9, 2.4), specimen.uniform(0.5, 0.85)
    height, width = view.extent
    number = int(np.clip(cover * height * width / thick**2, 20, 520))
    scene, drawn = Scene.flat(view.shape, 0.14), Drawn()
    planes = prism_planes(6, slender)
    for level in np.sort(place.uniform(-1.6 * thick, 1.6 * thick, number)):
        size = max(thick / 2 * np.exp(place.normal(0, 0.15)), 1.5 / unit)
        lean, towards = abs(place.normal(0, spread)), place.uniform(0, 2 * np.pi)
        rotation = _leaning(lean, towards) @ _leaning(0, place.uniform(0, np.pi))
        axis = rotation[:, 2]
        top = np.array([place.uniform(-thick, height + thick), place.uniform(-thick, width + thick)])
        centre = (top - axis[:2] * size * slender) * unit
        label = scene.new_label()
        z = (level - size * slender * axis[2]) * unit
        reach = (size * slender * np.sin(lean) + 1.3 * size) * unit
        tone = material * place.normal(1, 0.07)
        scene.put(sized(planes, size * unit, rotation), (centre[0], centre[1]), reach, z, tone, label)
        if label in scene.footprint:
            length = 2 * size * slender * np.sin(lean) * unit
            drawn.diameter[label] = 2 * size * unit
            drawn.length[label] = max(length, 1e-3)
            drawn.angle[label] = float(np.rad2deg(np.arctan2(-axis[0], axis[1])) % 180)
    return scene, drawn


def _leaning(lean: float, towards: float) -> NDArray[np.float64]:
    """Rotation that tips the vertical by ``lean`` towards a direction, or turns about it where lean is 0."""
    c, s = np.cos(towards), np.sin(towards)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    if lean == 0:
        return turn
    tip = np.array([[np.cos(lean), 0, np.sin(lean)], [0, 1, 0], [-np.sin(lean), 0, np.cos(lean)]])
    return np.asarray(turn @ tip @ turn.T)


Lay = Callable[[View], tuple[Scene, Drawn]]


def _fibres(name: str, lay: Lay, narrowest_um: float, widest_um: float) -> Variety:
    return Variety(name, partial(fibres, lay=lay), narrowest_um, widest_um)


def _wires(name: str, lay: Lay, narrowest_um: float, widest_um: float) -> Variety:
    return Variety(name, partial(nanowires, lay=lay), narrowest_um, widest_um)


FIBRES = (
    _fibres("a randomly oriented electrospun fibre mat", _spun, 8, 60),
    _fibres("aligned electrospun fibres", partial(_spun, aligned=True), 8, 60),
    _fibres("beaded electrospun fibres", partial(_spun, beaded=True), 10, 80),
    _fibres("woven cloth", _woven, 400, 2500),
    _fibres("a bundle of parallel fibres", _bundle, 60, 250),
)
NANOWIRES = (
    _wires("a forest of standing nanowires", _forest, 1.5, 20),
    _wires("a network of straight nanowires", _net, 2, 12),
    _wires("hexagonal nanorods", _hexagonal, 1, 10),
)
