"""A measurement drawn on its image: outlines, cut objects greyed, the scale bar as read, a histogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from micrographia.measure.particles import Particles
from micrographia.records import Box, Scale

OUTLINE, CUT, BAR = "#ff5d3b", "#8f8f8f", "#35c4ff"
WIDEST_INCHES = 9.0
BINS = 24


@dataclass(frozen=True)
class Drawing:
    """What is drawn on one image."""

    image: NDArray[np.uint8]
    """(rows, columns) or (rows, columns, 3), databar and all."""
    title: str
    scale: Scale
    particles: Particles | None = None
    """Of the field, which begins at the image's upper left corner."""
    bar: Box | None = None
    """The scale bar as it was read."""
    lines: Sequence[str] = ()
    """Results in words, below the picture."""


def draw(drawing: Drawing, path: Path) -> None:
    """Write the picture as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = drawing.image.shape[:2]
    with_sizes = drawing.particles is not None and drawing.particles.count > 0
    height = WIDEST_INCHES * rows / columns
    figure = Figure(figsize=(WIDEST_INCHES * (1.5 if with_sizes else 1), height + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, width_ratios=(2, 1)) if with_sizes else [figure.subplots()]
    _picture(axes[0], drawing)
    if with_sizes and drawing.particles is not None:
        _histogram(axes[1], drawing.particles)
    figure.suptitle(drawing.title, fontsize=11)
    if drawing.lines:
        figure.supxlabel("\n".join(drawing.lines), fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _picture(axes: Any, drawing: Drawing) -> None:
    axes.imshow(drawing.image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    if drawing.particles is not None:
        axes.imshow(_outlines(drawing.particles), interpolation="nearest")
    if drawing.bar is not None:
        box = drawing.bar
        for column in (box.left, box.right):
            axes.plot([column - 0.5] * 2, [box.top - 6, box.bottom + 6], color=BAR, lw=1.2)
    rows, columns = drawing.image.shape[:2]
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.set_axis_off()


def _outlines(particles: Particles) -> NDArray[np.float64]:
    """(rows, columns, 4): the outline of each particle, those that a side cuts in grey."""
    edge = find_boundaries(particles.labels, mode="inner")
    cut = np.concatenate([[False], particles.cut])[particles.labels]
    layer = np.zeros((*particles.labels.shape, 4))
    layer[edge & ~cut] = (*_rgb(OUTLINE), 1)
    layer[edge & cut] = (*_rgb(CUT), 1)
    return layer


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))


def _histogram(axes: Any, particles: Particles) -> None:
    diameters = particles.diameters[~particles.cut]
    values = np.array([particles.length(d) for d in diameters])
    axes.hist(
        values, bins=min(BINS, max(5, values.size // 3)), color=OUTLINE, edgecolor="white", linewidth=0.5
    )
    if values.size:
        axes.axvline(float(np.median(values)), color="black", lw=1)
    axes.set_xlabel(f"equivalent diameter, {particles.unit}")
    axes.set_ylabel(f"particles (n = {values.size})")
    axes.spines[["top", "right"]].set_visible(False)


def draw_agreement(
    means: NDArray[np.float64], differences: NDArray[np.float64], path: Path, unit: str
) -> None:
    """The plot of Bland and Altman: differences over means, with bias and limits."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(means, differences, "o", color=OUTLINE, markersize=4, alpha=0.7)
    bias, reach = float(differences.mean()), 1.96 * float(differences.std(ddof=1))
    axes.axhline(bias, color="black", lw=1)
    for limit in (bias - reach, bias + reach):
        axes.axhline(limit, color="black", lw=1, ls="--")
    axes.set_xlabel(f"mean of both, {unit}")
    axes.set_ylabel(f"ours - theirs, {unit}")
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
