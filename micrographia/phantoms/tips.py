"""Single sharp tips: etched wires, probes on a cantilever, field emitters on a wafer or in a gate hole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from micrographia.phantoms.fields import Array, rough, soften
from micrographia.phantoms.relief import Stage, step, tilted
from micrographia.phantoms.scene import Drawing, Scene, Variety, View
from micrographia.phantoms.solids import polyhedron, tube, unit_rows
from micrographia.phantoms.truth import Truth, count, degrees, length, percent
from micrographia.records import Quantity


def cone_radius(
    from_apex: NDArray[np.floating], apex_radius: float, half_angle: float
) -> NDArray[np.floating]:
    """Radius of a hyperboloid at a distance from its apex.

    r² = 2ρs + s² tan²α: a sphere of radius ρ at the apex, a cone of half angle α far from it.
    """
    return np.asarray(np.sqrt(2 * apex_radius * from_apex + (from_apex * np.tan(half_angle)) ** 2))


def etched_wire(view: View) -> Drawing:
    """The end of an electrochemically etched wire before a dark ground, pointing anywhere."""
    unit, specimen, place = view.unit, view.specimen, view.place
    half = np.deg2rad(specimen.uniform(5, 17))
    apex = specimen.uniform(1.2, 7) * unit
    pointing = float(specimen.choice([90.0, 90.0, 60.0, 120.0, 0.0, 180.0, 270.0])) + place.normal(0, 6)
    shaft = specimen.uniform(70, 150) * unit
    scene = _void(view)
    apex_at = _apex_place(view, pointing)
    along = np.arange(0, 2.2 * max(view.shape), 0.7)
    heading = np.deg2rad(pointing)
    back = np.stack([np.sin(heading) * along, -np.cos(heading) * along], axis=1)
    # Etching leaves a meniscus: the cone widens faster towards the shaft.
    radius = cone_radius(along, apex, half)
    flare = specimen.uniform(0.0, 0.5) * (along / (3 * shaft)) ** 2 * shaft
    radius = (np.maximum(radius + flare, 1e-3) ** -6.0 + shaft**-6.0) ** (-1 / 6)
    label = scene.new_label()
    tube(scene, back + apex_at, radius, 0.0, specimen.uniform(0.55, 0.8), label)
    _drawn_wire_surface(scene, view, pointing)
    return _with_truth(scene, view, apex, half, pointing)


def _void(view: View) -> Scene:
    """What is seen beside a tip: the chamber far below, nearly black, unevenly lit."""
    scene = Scene.flat(view.shape, view.specimen.uniform(0.05, 0.16))
    scene.height -= 400 * view.unit
    scene.tone *= 1 + 0.25 * rough(view.shape, view.grain, 1.5)
    return scene


def _apex_place(view: View, pointing_deg: float) -> NDArray[np.float64]:
    """Somewhat beyond the middle of the field, in the direction in which the tip points."""
    heading = np.deg2rad(pointing_deg)
    ahead = np.array([-np.sin(heading), np.cos(heading)]) * view.place.uniform(0.08, 0.28)
    return np.asarray((0.5 + ahead + view.place.normal(0, 0.03, 2)) * view.shape)


def _drawn_wire_surface(scene: Scene, view: View, pointing_deg: float) -> None:
    """Fine grooves along the axis from wire drawing, and etch roughness."""
    rows, cols = np.indices(scene.shape, dtype=np.float32)
    heading = np.deg2rad(pointing_deg)
    across = rows * np.cos(heading) + cols * np.sin(heading)
    profile = rough((2, 2048), view.grain, 0.2, 60 * view.unit, 2.5)[0]
    grooves = profile[np.clip(across - across.min(), 0, 2047).astype(np.intp)]
    depth = view.specimen.uniform(0.1, 0.6) * view.unit
    etch = rough(scene.shape, view.grain, 0.5, 30 * view.unit, 2.5)
    on = scene.label > 0
    scene.height[on] += (depth * (0.5 * grooves + 0.5 * etch))[on]


def _with_truth(scene: Scene, view: View, apex: float, half: float, pointing_deg: float) -> Drawing:
    objects = scene.objects()
    quantities = count("count", len(objects)) | percent("area_fraction", float((scene.label > 0).mean()))
    quantities |= length("apex_radius", apex, view.pixel_size_nm)
    quantities |= degrees("cone_angle_deg", float(np.rad2deg(2 * half)))
    quantities |= degrees("pointing_deg", pointing_deg % 360)
    return scene, Truth(variety=view.variety, quantities=quantities, objects=objects)


def probe(view: View) -> Drawing:
    """A pyramidal probe at the free end of a cantilever, seen obliquely."""
    unit, specimen, place = view.unit, view.specimen, view.place
    tall, base = specimen.uniform(150, 230), specimen.uniform(55, 85)
    tilt, turn = np.deg2rad(specimen.uniform(52, 72)), np.deg2rad(place.uniform(-35, 35))
    scene = _void(view)
    view_matrix = _oblique(tilt, turn)
    foot = np.array([view.shape[0] * place.uniform(0.66, 0.78), view.shape[1] * place.uniform(0.42, 0.58)])
    wide, thick, beyond = base * specimen.uniform(1.3, 1.9), specimen.uniform(14, 30), base * 1.5
    slab_normals = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    pointed = specimen.random() < 0.5
    slab = np.array([beyond, 1200.0, wide, wide, 0.0, thick]) * unit
    if pointed:
        corners = unit_rows(np.array([[1.0, 0.8, 0], [1.0, -0.8, 0]]))
        slab_normals = np.concatenate([slab_normals, corners])
        slab = np.append(slab, [1.15 * beyond * unit, 1.15 * beyond * unit])
    # The slab reaches far beyond the field on one side: its window must cover the whole field.
    reach = 2.0 * max(view.shape)
    scene.put(
        polyhedron(_turned(slab_normals, view_matrix), slab),
        tuple(foot),
        reach,
        0,
        specimen.uniform(0.4, 0.6),
    )
    slope = np.arctan2(base, tall)
    sides = int(specimen.choice([3, 4, 4, 8]))
    angle = 2 * np.pi * (np.arange(sides) + 0.5 * (sides == 4)) / sides
    walls = np.stack(
        [np.cos(slope) * np.sin(angle), np.cos(slope) * np.cos(angle), np.full(sides, np.sin(slope))], 1
    )
    normals = np.concatenate([walls, [[0, 0, -1.0]]])
    distances = np.append(np.full(sides, tall * np.sin(slope)), 0.0) * unit
    label = scene.new_label()
    tone = float(specimen.uniform(0.6, 0.85))
    scene.put(
        polyhedron(_turned(normals, view_matrix), distances), tuple(foot), 1.3 * tall * unit, 0.0, tone, label
    )
    scene.height += np.where(
        scene.height > -100 * unit, rough(view.shape, view.grain, 0.5, 30 * unit, 3) * 0.3 * unit, 0
    )
    top = view_matrix @ np.array([0, 0, tall])
    return _probe_truth(scene, view, tall, top, slope)


def _oblique(tilt: float, turn: float) -> NDArray[np.float64]:
    """From the probe's axes (row, column, up) to those of the picture: turned, then tipped away."""
    c, s, ct, st = np.cos(turn), np.sin(turn), np.cos(tilt), np.sin(tilt)
    about_axis = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    tip = np.array([[ct, 0, -st], [0, 1, 0], [st, 0, ct]])
    return np.asarray(tip @ about_axis)


def _turned(normals: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(normals @ matrix.T)


def _probe_truth(scene: Scene, view: View, tall: float, top: NDArray[np.float64], slope: float) -> Drawing:
    objects = scene.objects()
    quantities = count("count", len(objects)) | percent("area_fraction", float((scene.label > 0).mean()))
    quantities |= length("tip_height", tall * view.unit, view.pixel_size_nm)
    quantities |= degrees("face_angle_deg", float(np.rad2deg(2 * slope)))
    quantities |= degrees("pointing_deg", float(np.rad2deg(np.arctan2(-top[0], top[1])) % 360))
    return scene, Truth(variety=view.variety, quantities=quantities, objects=objects)


def emitter(view: View) -> Drawing:
    """A field emitter: a cone on a wafer seen tilted, alone or within the hole of a gate electrode."""
    unit, specimen, place = view.unit, view.specimen, view.place
    half, apex = np.deg2rad(specimen.uniform(12, 24)), specimen.uniform(1.0, 5) * unit
    tall, tilt = specimen.uniform(170, 270) * unit, float(specimen.uniform(50, 66))
    gated = view.variety.endswith("gate hole")
    if gated:
        tall, tilt, half = 0.75 * tall, float(specimen.uniform(30, 42)), half * 1.6
    stage = Stage(view, tilt, tall)
    cosine = np.cos(np.deg2rad(tilt))
    foot_row = (
        view.shape[0] * place.uniform(0.68, 0.8) if not gated else view.shape[0] * place.uniform(0.6, 0.68)
    )
    foot = (foot_row / cosine, view.shape[1] * place.uniform(0.42, 0.58))
    rows, cols = np.indices(stage.shape, dtype=np.float32)
    away = np.hypot(rows - foot[0], cols - foot[1])
    plane = Scene.flat(stage.shape, specimen.uniform(0.25, 0.4))
    plane.height += rough(stage.shape, view.grain, 0.6, 40 * unit, 3) * specimen.uniform(0.1, 0.8) * unit
    cone = tall - _cone_depth(away, apex, half)
    on = cone > plane.height
    plane.height = np.maximum(plane.height, cone).astype(np.float32)
    plane.tone[on] = specimen.uniform(0.6, 0.85)
    plane.label[on] = 1
    if gated:
        _gate(plane, away, float(np.sqrt(max(0, (tall * np.tan(half)) ** 2))), tall, view)
    plane.height = soften(plane.height, 0.4)
    scene = tilted(plane, stage)
    scene.mark(scene.label)
    drawing, truth = _with_truth(scene, view, apex, half, 90.0)
    extra: dict[str, Quantity] = length("tip_height", tall, view.pixel_size_nm) | degrees("tilt_deg", tilt)
    return drawing, truth.model_copy(update={"quantities": truth.quantities | extra})


def _cone_depth(away: Array, apex: float, half: float) -> Array:
    """How far below the apex the hyperboloid of ``cone_radius`` has the radius ``away``."""
    t = np.tan(half) ** 2
    return np.asarray((-apex + np.sqrt(apex**2 + t * away**2)) / t, np.float32)


def _gate(plane: Scene, away: Array, foot_radius: float, tall: float, view: View) -> None:
    """A metal gate around the cone, its hole a little wider than the cone's foot."""
    hole = foot_radius * view.specimen.uniform(1.25, 1.6)
    gate = step(away - np.float32(hole), 0.85 * tall, 2.0)
    over = gate > plane.height
    plane.height = np.maximum(plane.height, gate)
    plane.height += np.where(
        over, rough(plane.shape, view.grain, 0.3, 15 * view.unit, 2.5) * 0.3 * view.unit, 0
    )
    plane.tone[over] = view.specimen.uniform(0.4, 0.6)
    plane.label[over] = 0


TIPS = (
    Variety("an etched metal tip", etched_wire, 2, 120, 1.4),
    Variety("a probe tip on a cantilever", probe, 8, 60, 1.2),
    Variety("a conical field emitter", emitter, 1, 20),
    Variety("a field emitter in a gate hole", emitter, 1, 6, 0.6),
)
