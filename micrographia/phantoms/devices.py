"""MEMS devices and electrodes: combs, cantilevers, gears and pads, with straight edges and etched walls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from micrographia.phantoms.fields import Array, rough, soften
from micrographia.phantoms.relief import Coordinates, Stage, box, step, tilted, wall_marks
from micrographia.phantoms.scene import Drawing, Scene, Variety, View
from micrographia.phantoms.truth import Truth, count, degrees, length
from micrographia.records import Quantity

Quantities = dict[str, Quantity]


def _stage(view: View, tall_px: float, often: float) -> tuple[Stage, float]:
    """A stage, tilted more or less often, and the direction of the device on it in degrees."""
    tilt = float(view.specimen.uniform(25, 50)) if view.specimen.random() < often else 0.0
    turn = float(view.specimen.choice([0.0, 90.0, 0.0, 20.0, -30.0]) + view.place.normal(0, 1.5))
    return Stage(view, tilt, tall_px), turn


def _union(*parts: Array) -> Array:
    """Signed distance from the union of shapes."""
    return np.asarray(np.maximum.reduce(parts))


def _deck(stage: Stage, inside: Array, tall: float, low: float, high: float) -> Scene:
    """A structural layer of height ``tall`` over a plane, both with their own tone and a fine roughness."""
    view = stage.view
    plane = Scene.flat(stage.shape, low)
    plane.height = step(inside, tall, 1.2)
    # Walls are of the deck's material down to their foot.
    plane.tone[:] = np.where(inside > -1.5, high, low)
    ground = rough(stage.shape, view.grain, 0.6, 40 * view.unit, 2.5) * np.float32(0.25 * view.unit)
    plane.height += np.where(inside > 0, 0.4 * ground, ground)
    plane.tone *= 1 + 0.05 * rough(stage.shape, view.grain, 1.3)
    return plane


def _show(plane: Scene, stage: Stage, turn: float | None, quantities: Quantities) -> Drawing:
    """The device on its stage; ``turn`` is its direction in the plane, None where it has none."""
    flat = soften(plane.height, 0.5)
    plane.height = flat
    if stage.tilt_deg:
        wall_marks(plane, stage, flat, 0.18)
    scene = tilted(plane, stage)
    scene.label[:] = 0
    quantities |= degrees("tilt_deg", stage.tilt_deg)
    if turn is not None:
        quantities |= degrees("orientation_deg", turn % 180)
    return scene, Truth(variety=stage.view.variety, quantities=quantities)


def _tones(view: View) -> tuple[float, float]:
    return float(view.specimen.uniform(0.2, 0.36)), float(view.specimen.uniform(0.45, 0.7))


def comb(view: View) -> Drawing:
    """A comb drive: fingers of two halves between each other, a spine with release holes, beams."""
    unit, specimen = view.unit, view.specimen
    finger, gap = specimen.uniform(7, 17), specimen.uniform(5, 12)
    pitch, reach = 2 * (finger + gap), specimen.uniform(80, 150)
    overlap = specimen.uniform(0.4, 0.75)
    tall = specimen.uniform(14, 34) * unit
    stage, turn = _stage(view, tall, 0.65)
    origin = tuple(side * view.place.uniform(0.4, 0.6) for side in stage.shape)
    at = stage.frame(turn, (origin[0], origin[1]))
    a, b = at[0] / np.float32(unit), at[1] / np.float32(unit)
    spine, half = specimen.uniform(28, 50), 280.0
    there = np.abs(np.mod(b + pitch / 2, pitch) - pitch / 2)
    back = 2 * spine + reach * (2 - overlap)
    inside = np.float32(spine) - np.abs(a + spine)
    inside = _union(inside, np.minimum(finger / 2 - there, np.minimum(a, reach - a)))
    shifted = np.abs(np.mod(b, pitch) - pitch / 2)
    root = reach * (2 - overlap)
    inside = _union(inside, np.minimum(finger / 2 - shifted, np.minimum(a - (root - reach), root - a)))
    inside = _union(inside, np.minimum(a - root, root + 2 * spine - a))
    inside = np.minimum(inside, half - np.abs(b))
    inside = np.minimum(inside, _holes(a + spine, b, spine, specimen.uniform(16, 24)))
    inside = _union(inside, _beams((a + 2 * spine, b), specimen.uniform(4, 8), back))
    low, high = _tones(view)
    plane = _deck(stage, np.asarray(inside * unit, np.float32), tall, low, high)
    quantities = length("finger_width", finger * unit, view.pixel_size_nm)
    quantities |= length("finger_gap", gap * unit, view.pixel_size_nm)
    quantities |= length("finger_length", reach * unit, view.pixel_size_nm)
    quantities |= length("pitch", pitch * unit, view.pixel_size_nm)
    return _show(plane, stage, turn, quantities)


def _holes(a: Array, b: Array, half: float, pitch: float) -> Array:
    """Signed distance from everything but the square release holes in a plate of half width ``half``."""
    near_a = np.abs(np.mod(a + pitch / 2, pitch) - pitch / 2)
    near_b = np.abs(np.mod(b + pitch / 2, pitch) - pitch / 2)
    hole = 0.2 * pitch - np.maximum(near_a, near_b)
    return np.where(np.abs(a) < half - 0.5 * pitch, -hole, np.float32(1e3))


def _beams(at: Coordinates, width: float, depth: float) -> Array:
    """Folded suspension beams behind the spine, ending in a large anchor."""
    a, b = at
    beams = [box((a, b), (-110, 1), (s - width / 2, s + width / 2)) for s in (-190, -150, 150, 190)]
    anchors = [box((a, b), (-190, -108), (s - 45, s + 45)) for s in (-170, 170)]
    return _union(*beams, *anchors)


def cantilevers(view: View) -> Drawing:
    """A row of cantilevers over an etched pit, all of one width, of equal or graded length."""
    unit, specimen = view.unit, view.specimen
    width, gap = specimen.uniform(18, 48), specimen.uniform(12, 40)
    pitch, reach = width + gap, specimen.uniform(150, 300)
    graded, triangular = specimen.random() < 0.5, specimen.random() < 0.2
    tall = specimen.uniform(25, 50) * unit
    stage, turn = _stage(view, tall, 0.75)
    origin = (stage.shape[0] * view.place.uniform(0.25, 0.4), stage.shape[1] / 2)
    at = stage.frame(turn if abs(turn) < 45 else 0.0, origin)
    turn = turn if abs(turn) < 45 else 0.0
    a, b = at[0] / np.float32(unit), at[1] / np.float32(unit)
    inside = -a
    number = int(specimen.integers(2, 7))
    lengths_px = []
    for k in range(number):
        centre = (k - (number - 1) / 2) * pitch
        extent = reach * (1 - 0.6 * k / number if graded else 1.0)
        lengths_px.append(extent * unit)
        taper = np.clip((extent - a) / extent, 0.0, 1.0) if triangular else np.float32(1.0)
        inside = _union(
            inside, np.minimum(width / 2 * taper - np.abs(b - centre), np.minimum(a + 5, extent - a))
        )
    pit = specimen.uniform(1.15, 1.5) * reach
    inside = _union(inside, a - pit, np.abs(b) - (number * pitch / 2 + specimen.uniform(20, 60)))
    low, high = _tones(view)
    plane = _deck(stage, np.asarray(inside * unit, np.float32), tall, 0.7 * low, high)
    quantities = count("cantilever_count", number) | length(
        "cantilever_width", width * unit, view.pixel_size_nm
    )
    quantities |= length("cantilever_length_longest", max(lengths_px), view.pixel_size_nm)
    quantities |= length("pitch", pitch * unit, view.pixel_size_nm)
    return _show(plane, stage, turn, quantities)


def electrodes(view: View) -> Drawing:
    """Interdigitated metal electrodes on an insulator, each comb led to a bond pad."""
    unit, specimen = view.unit, view.specimen
    finger, gap = specimen.uniform(5, 16), specimen.uniform(5, 16)
    pitch, half = 2 * (finger + gap), specimen.uniform(80, 130)
    number = int(np.clip(specimen.uniform(180, 320) / pitch, 3, 14))
    tall = specimen.uniform(2, 6) * unit
    stage, turn = _stage(view, tall, 0.2)
    at = stage.frame(turn)
    a, b = (v / np.float32(unit) for v in at)
    wide = number * pitch / 2
    b = b - np.float32(view.place.uniform(-20, 20))
    there = np.abs(np.mod(b + pitch / 2, pitch) - pitch / 2)
    shifted = np.abs(np.mod(b, pitch) - pitch / 2)
    bus = specimen.uniform(14, 26)
    upper = np.minimum(finger / 2 - there, np.minimum(a + half + bus, half - gap - a))
    lower = np.minimum(finger / 2 - shifted, np.minimum(half + bus - a, a + half - gap))
    combs = np.minimum(_union(upper, lower), wide - np.abs(b))
    buses = [box((a, b), limits, (-wide, wide)) for limits in ((-half - bus, -half), (half, half + bus))]
    pad = specimen.uniform(70, 110)
    pads = []
    for side in (-1, 1):
        edge = side * (half + bus / 2)
        track = sorted((edge, edge + side * 60))
        pads.append(box((a, b), (track[0], track[1]), (side * wide * 0.5 - 9, side * wide * 0.5 + 9)))
        block = sorted((edge + side * 55, edge + side * (55 + pad)))
        pads.append(
            box((a, b), (block[0], block[1]), (side * wide * 0.5 - pad / 2, side * wide * 0.5 + pad / 2))
        )
    inside = _union(combs, *buses, *pads)
    low, high = _tones(view)
    plane = _deck(stage, np.asarray(inside * unit, np.float32), tall, low, min(0.95, high * 1.3))
    quantities = count("finger_count", 2 * number) | length("finger_width", finger * unit, view.pixel_size_nm)
    quantities |= length("finger_gap", gap * unit, view.pixel_size_nm)
    quantities |= length("pitch", pitch * unit, view.pixel_size_nm)
    return _show(plane, stage, turn, quantities)


def gear(view: View) -> Drawing:
    """A surface-micromachined wheel: teeth, spokes, hub, and a smaller one in mesh."""
    unit, specimen = view.unit, view.specimen
    teeth, radius = int(specimen.integers(12, 30)), specimen.uniform(110, 165)
    spokes = int(specimen.integers(3, 7))
    tall = specimen.uniform(10, 24) * unit
    stage, _ = _stage(view, tall, 0.6)
    middle = (stage.shape[0] * view.place.uniform(0.42, 0.58), stage.shape[1] * view.place.uniform(0.35, 0.5))
    small = max(8, round(teeth * specimen.uniform(0.45, 0.7)))
    inside = _wheel(stage, middle, radius * unit, teeth, spokes, 0.0)
    heading = view.specimen.uniform(-0.6, 0.6)
    apart = radius * (1 + small / teeth) * 1.12 * unit
    other = (middle[0] + apart * np.sin(heading), middle[1] + apart * np.cos(heading))
    inside = _union(inside, _wheel(stage, other, radius * small / teeth * unit, small, 0, np.pi / small))
    low, high = _tones(view)
    plane = _deck(stage, inside, tall, low, high)
    quantities = count("tooth_count", teeth) | count("small_tooth_count", small)
    quantities |= length("wheel_diameter", 2 * radius * unit, view.pixel_size_nm)
    return _show(plane, stage, None, quantities)


def _wheel(
    stage: Stage, middle: tuple[float, float], radius: float, teeth: int, spokes: int, phase: float
) -> Array:
    """Approximate signed distance from a toothed wheel of pitch radius ``radius``."""
    a, b = stage.frame(0.0, middle)
    away, angle = np.hypot(a, b), np.arctan2(a, b)
    depth = 0.75 * np.pi * radius / teeth
    tooth = np.clip(1.8 * np.cos(teeth * angle + phase * teeth), -1, 1)
    inside = radius + depth / 2 * tooth - away
    inside = np.minimum(inside, away - 0.14 * radius)
    if spokes:
        turn = np.mod(angle, 2 * np.pi / spokes) - np.pi / spokes
        beam = 0.075 * radius - np.abs(away * np.sin(turn))
        ring = _union(away - 0.76 * radius, 0.3 * radius - away, beam)
        inside = np.minimum(inside, ring)
    return np.asarray(_union(inside, 0.09 * radius - away), np.float32)


def pads(view: View) -> Drawing:
    """Bond pads in a row with tracks that lead off and a passivation opening in each."""
    unit, specimen = view.unit, view.specimen
    side, gap = specimen.uniform(60, 100), specimen.uniform(20, 50)
    pitch, track = side + gap, specimen.uniform(8, 20)
    tall = specimen.uniform(4, 9) * unit
    stage, turn = _stage(view, tall, 0.4)
    a, b = (v / np.float32(unit) for v in stage.frame(turn))
    number = int(specimen.integers(3, 6))
    metal, opening = [], []
    for k in range(number):
        centre = (k - (number - 1) / 2) * pitch
        metal.append(box((a, b), (-side, 0), (centre - side / 2, centre + side / 2)))
        inner = (centre - 0.4 * side, centre + 0.4 * side)
        opening.append(box((a, b), (-0.9 * side, -0.1 * side), inner))
        reach, shift = 40 + 2.2 * track * abs(k - (number - 1) / 2), (k - (number - 1) / 2) * (track + 10)
        metal.append(box((a, b), (-1, reach + track), (centre - track / 2, centre + track / 2)))
        run = sorted(
            (centre - track / 2 * np.sign(centre - shift), shift - track / 2 * np.sign(centre - shift))
        )
        metal.append(box((a, b), (reach, reach + track), (run[0] - track / 2, run[1] + track / 2)))
        metal.append(box((a, b), (reach, 600), (shift - track / 2, shift + track / 2)))
    inside = _union(*metal)
    low, high = _tones(view)
    plane = _deck(stage, np.asarray(inside * unit, np.float32), tall, low, high)
    openings = _union(*opening)
    plane.height -= step(np.asarray(openings * unit, np.float32), 0.5 * tall, 1.5)
    plane.tone[openings > 0] = min(0.95, 1.35 * high)
    _probe_marks(plane, openings, view)
    quantities = count("pad_count", number) | length("pad_side", side * unit, view.pixel_size_nm)
    quantities |= length("pitch", pitch * unit, view.pixel_size_nm)
    quantities |= length("track_width", track * unit, view.pixel_size_nm)
    return _show(plane, stage, turn, quantities)


def _probe_marks(plane: Scene, openings: NDArray[np.floating], view: View) -> None:
    """Dents and smears left by test needles on the soft metal."""
    dents = rough(plane.shape, view.grain, 1.2, 40 * view.unit, 5 * view.unit)
    plane.height -= np.where(openings > 5, np.clip(dents - 0.8, 0, 1.5) * 3 * view.unit, 0).astype(np.float32)


DEVICES = (
    Variety("a comb drive", comb, 60, 400, 1.2),
    Variety("microcantilevers over an etched pit", cantilevers, 60, 600, 1.2),
    Variety("interdigitated electrodes with bond pads", electrodes, 80, 1500),
    Variety("micromachined gear wheels", gear, 100, 800, 0.8),
    Variety("a row of bond pads with tracks", pads, 200, 1200, 0.8),
)
