"""Random fields that give surfaces their texture: self-affine roughness, cells around points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.spatial import cKDTree

Array = NDArray[np.floating[Any]]
"""Fields are float32; float64 where a formula needs it."""


def rough(
    shape: tuple[int, int],
    rng: np.random.Generator,
    hurst: float = 0.7,
    coarsest: float = 1e9,
    finest: float = 0.0,
) -> Array:
    """A self-affine Gaussian surface of mean 0 and standard deviation 1, periodic.

    Its amplitude spectrum falls as q^-(1+H) between the wavelengths ``coarsest`` and ``finest`` in pixels, is
    flat below and zero above (Jacobs, Junge and Pastewka, Surf. Topogr. 5 (2017) 013001).
    """
    rows, cols = (fft.next_fast_len(int(n), real=True) for n in shape)
    white = fft.rfft2(rng.standard_normal((rows, cols), dtype=np.float32))
    wave = np.hypot(fft.fftfreq(rows)[:, None], fft.rfftfreq(cols)[None]).astype(np.float32)
    amplitude = np.maximum(wave, max(1 / coarsest, 1 / max(rows, cols))) ** -(1 + hurst)
    amplitude[0, 0] = 0
    if finest > 0:
        amplitude *= wave <= 1 / finest
    surface = fft.irfft2(white * amplitude, s=(rows, cols))[: shape[0], : shape[1]]
    return np.asarray((surface - surface.mean()) / max(float(surface.std()), 1e-12), np.float32)


def soften(values: Array, sigma: float) -> Array:
    """Nearly Gaussian blur in time independent of ``sigma``: three box filters (Wells, PAMI 8 (1986) 234)."""
    side = max(1, round(float(np.sqrt(4 * sigma**2 + 1))))
    for _ in range(3):
        values = ndimage.uniform_filter(values, side, mode="nearest")
    return values


def scattered(
    shape: tuple[float, float],
    spacing: float,
    rng: np.random.Generator,
    jitter: float = 0.35,
    margin: float = 2.0,
) -> NDArray[np.float64]:
    """(n, 2) points over the field and ``margin`` spacings around it: a hexagonal grid, each point displaced.

    ``jitter`` is the standard deviation of the displacement in spacings; 0.35 gives foam-like cells.
    """
    step = spacing * np.sqrt(np.sqrt(3) / 2)
    rows = np.arange(-margin * spacing, shape[0] + margin * spacing, step)
    cols = np.arange(-margin * spacing, shape[1] + margin * spacing, spacing**2 / step)
    row, col = np.meshgrid(rows, cols, indexing="ij")
    col[1::2] += spacing / 2
    points = np.stack([row.ravel(), col.ravel()], axis=1)
    return np.asarray(points + rng.normal(0, jitter * spacing, points.shape))


def cells(
    shape: tuple[int, int], points: NDArray[np.float64], warp: Array | None = None, neighbours: int = 3
) -> tuple[NDArray[np.intp], Array]:
    """Voronoi cells: (neighbours, rows, cols) indices of the nearest points, and distances.

    ``warp`` (2, rows, cols) displaces the pixels beforehand, so that borders wander.
    """
    grid: Array = np.indices(shape, dtype=np.float32)
    if warp is not None:
        grid = grid + warp
    near, index = cKDTree(points).query(grid.reshape(2, -1).T, k=neighbours)
    stack = (neighbours, *shape)
    return index.T.reshape(stack), near.T.reshape(stack).astype(np.float32)


def border_distance(points: NDArray[np.float64], index: NDArray[np.intp], near: Array) -> Array:
    """Distance of every pixel from the border between its two nearest points' cells.

    From |p-a|, |p-b| and |a-b|: (|p-b|² - |p-a|²) / 2|a-b|, the offset from the perpendicular bisector.
    """
    apart = np.linalg.norm(points[index[0]] - points[index[1]], axis=-1)
    return np.asarray((near[1] ** 2 - near[0] ** 2) / np.maximum(2 * apart, 1e-6), np.float32)
