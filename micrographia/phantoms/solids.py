"""Solid shapes as height functions, and tubes swept along curves: what scenes are put together from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from micrographia.phantoms.fields import Array
from micrographia.phantoms.scene import Scene, Solid

Matrix = NDArray[np.float64]
Vector = NDArray[np.floating[Any]] | float
OUTLINE_POINTS = 1024


def ball(radius: float, flatten: float = 1.0) -> Solid:
    """A sphere, or a spheroid whose vertical half axis is ``flatten`` radii."""

    def height(dr: Array, dc: Array) -> Array:
        inside = 1 - (dr**2 + dc**2) / np.float32(radius**2)
        return np.where(inside >= 0, radius * flatten * np.sqrt(np.maximum(inside, 0)), -np.inf)

    return height


def lump(radius: float, rng: np.random.Generator, uneven: float = 0.15, flatten: float = 0.9) -> Solid:
    """A rounded body whose outline wanders by ``uneven`` radii: ellipse plus a few harmonics."""
    order = np.arange(2, 9)
    weight = uneven * rng.normal(size=(2, order.size)) * (2 / order[None]) ** 1.5
    turn = order * np.linspace(-np.pi, np.pi, OUTLINE_POINTS)[:, None]
    outline = 1 + np.cos(turn) @ weight[0] + np.sin(turn) @ weight[1]
    outline = (radius * np.clip(outline, 0.4, 1.6)).astype(np.float32)

    def height(dr: Array, dc: Array) -> Array:
        at = (np.arctan2(dr, dc) + np.pi) * np.float32((OUTLINE_POINTS - 1) / (2 * np.pi))
        edge = outline[at.astype(np.intp)]
        inside = 1 - (dr**2 + dc**2) / edge**2
        return np.where(inside >= 0, radius * flatten * np.sqrt(np.maximum(inside, 0)), -np.inf)

    return height


def cluster(radius: float, rng: np.random.Generator, number: int) -> Solid:
    """A grape-like body of ``number`` balls within ``radius``."""
    out = rng.normal(size=(number, 3))
    out *= (rng.uniform(0.1, 1, (number, 1)) ** 0.4) / np.linalg.norm(out, axis=1, keepdims=True)
    sizes = radius * rng.uniform(0.28, 0.48, number)
    centres = out * (radius - sizes)[:, None]

    def height(dr: Array, dc: Array) -> Array:
        top = np.full(np.broadcast_shapes(dr.shape, dc.shape), -np.inf, np.float32)
        for (row, col, up), size in zip(centres.astype(np.float32), sizes.astype(np.float32), strict=True):
            inside = size**2 - ((dr - row) ** 2 + (dc - col) ** 2)
            np.maximum(top, np.where(inside >= 0, up + np.sqrt(np.maximum(inside, 0)), -np.inf), out=top)
        return top

    return height


def polyhedron(normals: Matrix, distances: NDArray[np.float64]) -> Solid:
    """The convex body {x : normals · x <= distances}, normals as (row, column, up) unit vectors.

    Its upper surface over a point is the lowest of the planes that face up, and the point is beside it where
    that lies under the highest of the planes that face down.
    """
    upright = np.abs(normals[:, 2]) < 1e-6
    up = normals[:, 2] > 0

    steep_r, steep_c, top = (
        np.divide(v, normals[:, 2], where=~upright, out=np.zeros(len(v))).astype(np.float32)
        for v in (normals[:, 0], normals[:, 1], distances)
    )

    def height(dr: Array, dc: Array) -> Array:
        ceiling = np.full(np.broadcast_shapes(dr.shape, dc.shape), np.inf, np.float32)
        floor = np.full(ceiling.shape, -np.inf, np.float32)
        # With rows and columns as one column and one row, each plane is one outer difference.
        for k in np.flatnonzero(~upright):
            plane = (top[k] - steep_r[k] * dr) - steep_c[k] * dc
            if up[k]:
                np.minimum(ceiling, plane, out=ceiling)
            else:
                np.maximum(floor, plane, out=floor)
        outside = ceiling < floor
        for k in np.flatnonzero(upright):
            outside |= normals[k, 0] * dr + normals[k, 1] * dc > distances[k]
        ceiling[outside] = -np.inf
        return ceiling

    return height


def unit_rows(vectors: Matrix) -> Matrix:
    """Every row divided by its length."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def cube_planes() -> tuple[Matrix, NDArray[np.float64]]:
    """A cube of edge 2."""
    return np.concatenate([np.eye(3), -np.eye(3)]), np.ones(6)


def octahedron_planes(truncation: float = 0.0) -> tuple[Matrix, NDArray[np.float64]]:
    """An octahedron with its corners at distance 1, cut back by ``truncation`` of it at each corner."""
    signs = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], float)
    faces = unit_rows(signs)
    if truncation <= 0:
        return faces, np.full(8, 1 / np.sqrt(3))
    corners, at = cube_planes()
    return np.concatenate([faces, corners]), np.concatenate(
        [np.full(8, 1 / np.sqrt(3)), at * (1 - truncation)]
    )


def prism_planes(sides: int, half_length: float) -> tuple[Matrix, NDArray[np.float64]]:
    """A regular prism about the vertical with inscribed radius 1."""
    angle = 2 * np.pi * np.arange(sides) / sides
    walls = np.stack([np.sin(angle), np.cos(angle), np.zeros(sides)], axis=1)
    ends = np.array([[0.0, 0, 1], [0, 0, -1]])
    return np.concatenate([walls, ends]), np.concatenate([np.ones(sides), [half_length, half_length]])


def shard_planes(
    rng: np.random.Generator, faces: int = 16, aspect: float = 1.0
) -> tuple[Matrix, NDArray[np.float64]]:
    """An irregular convex fragment of inscribed radius about 0.8, stretched by ``aspect`` along one axis."""
    normals = unit_rows(rng.normal(size=(faces, 3)))
    box = np.concatenate([np.eye(3), -np.eye(3)])
    distances = np.concatenate([rng.uniform(0.65, 1.0, faces), np.full(6, 1.15)])
    stretch = np.array([1 / aspect, 1.0, 1.0])
    normals = np.concatenate([normals, box]) * stretch
    norm = np.linalg.norm(normals, axis=1)
    return normals / norm[:, None], distances / norm


def sized(planes: tuple[Matrix, NDArray[np.float64]], size: float, rotation: Matrix) -> Solid:
    """A polyhedron ``size`` times as large, turned by ``rotation``."""
    normals, distances = planes
    return polyhedron(normals @ rotation.T, distances * size)


def walk(
    start: tuple[float, float],
    heading: float,
    length: float,
    wander: float,
    rng: np.random.Generator,
    persistence: float = 80.0,
    step: float = 1.0,
) -> NDArray[np.float64]:
    """A smooth curve, (n, 2) points ``step`` apart, centred on ``start``.

    Its heading (radians, counter-clockwise from growing columns) is a smooth random function of the arc
    length with standard deviation ``wander`` and correlation length ``persistence``.
    """
    n = max(2, int(length / step))
    knots = max(4, int(length / persistence) + 3)
    at = np.linspace(0, knots - 1, n)
    values = rng.normal(0, wander, knots + 1)
    left = at.astype(int)
    ease = (1 - np.cos(np.pi * (at - left))) / 2
    angle = heading + values[left] * (1 - ease) + values[left + 1] * ease
    path = np.cumsum(np.stack([-np.sin(angle), np.cos(angle)], axis=1) * step, axis=0)
    return np.asarray(path - path[n // 2] + start)


def resampled(path: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """The same curve by points ``step`` apart."""
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.linspace(0, along[-1], max(2, int(along[-1] / step) + 1))
    return np.stack([np.interp(at, along, path[:, k]) for k in range(path.shape[1])], axis=1)


def tube(
    scene: Scene,
    path: NDArray[np.float64],
    radius: Vector,
    z: Vector,
    tone: Vector,
    label: int = 0,
    flatness: float = 1.0,
    facets: float = 0.0,
) -> None:
    """Sweep a round (or, with ``facets``, roof-shaped) section along a curve of (row, column) pixels.

    ``radius``, ``z`` (height of the axis) and ``tone`` may vary along the curve. Points up to about 0.7
    pixels apart leave no holes. Heights are taken at the centres of the pixels; those at the edge are covered
    in part.
    """
    points, radii, levels, tones = _inside(scene.shape, path, radius, z, tone)
    if len(points) < 2:
        return
    tangent = np.gradient(points, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    half = np.ceil(float(radii.max() + 0.5) / 0.7)
    across = np.arange(-half, half + 1, dtype=np.float32)[None] * np.float32(0.7)
    down, right = (points[:, k, None].astype(np.float32) for k in (0, 1))
    normal_down, normal_right = (
        tangent[:, 1, None].astype(np.float32),
        -tangent[:, 0, None].astype(np.float32),
    )
    rows, cols = np.rint(down + across * normal_down), np.rint(right + across * normal_right)
    offset = np.abs((rows - down) * normal_down + (cols - right) * normal_right)
    good = offset <= radii[:, None] + 0.5
    good &= (rows >= 0) & (cols >= 0) & (rows < scene.shape[0]) & (cols < scene.shape[1])
    which = np.nonzero(good)[0]
    flat = rows[good].astype(np.intp) * scene.shape[1] + cols[good].astype(np.intp)
    offset, width = offset[good], radii[which]
    share = np.minimum(offset / width, 1)
    profile = (1 - facets) * np.sqrt(1 - share**2) + facets * np.minimum(1, (1 - share) / 0.55) * 0.85
    top = levels[which] + flatness * width * profile
    _scatter(scene, flat, top, tones[which], np.minimum(1, width + 0.5 - offset), label)
    if label:
        core = flat[offset <= width]
        _remember(scene, label, core, path, np.broadcast_to(radius, (len(path),)))


def _remember(
    scene: Scene,
    label: int,
    core: NDArray[np.intp],
    path: NDArray[np.float64],
    radii: NDArray[np.floating[Any]],
) -> None:
    """The area of a tube: its pixels where all lies in the field, otherwise its width summed along it."""
    edge = np.array(scene.shape) - 1 - radii.max()
    if (path < radii.max()).any() or (path > edge).any():
        steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
        scene.remember(label, float((steps * (radii[:-1] + radii[1:])).sum()), 0, hidden=True)
        return
    pixels = np.unique(core)
    shown = int((scene.label.reshape(-1)[pixels] == label).sum())
    scene.remember(label, pixels.size, shown, hidden=shown < pixels.size)


def _inside(
    shape: tuple[int, int],
    path: NDArray[np.float64],
    radius: Vector,
    z: Vector,
    tone: Vector,
) -> tuple[NDArray[np.float64], ...]:
    n = len(path)
    radii, levels, tones = (np.broadcast_to(np.asarray(v, float), (n,)) for v in (radius, z, tone))
    reach = float(radii.max()) + 2
    near = ((path > -reach) & (path < np.array(shape) + reach)).all(axis=1)
    return path[near], np.maximum(radii[near], 0.5), levels[near], tones[near]


def _scatter(
    scene: Scene,
    flat: NDArray[np.intp],
    top: NDArray[np.float64],
    tone: NDArray[np.float64],
    cover: NDArray[np.float64],
    label: int,
) -> None:
    """Keep at each pixel the highest of what is there and what comes; edge pixels mix their tones."""
    surface, tones = scene.height.reshape(-1), scene.tone.reshape(-1)
    mixed = cover * tone + (1 - cover) * tones[flat]
    # Points of one tube share pixels, and the last one assigned would stay: the second pass mends that.
    for _ in range(2):
        seen = top > surface[flat]
        there = flat[seen]
        surface[there] = top[seen]
        tones[there] = mixed[seen]
        scene.label.reshape(-1)[there[cover[seen] >= 0.5]] = label
