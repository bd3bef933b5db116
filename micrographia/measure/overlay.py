"""A measurement drawn on its image: outlines, cut objects greyed, the scale bar as read, a histogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import find_boundaries

from micrographia.measure.fibres import Widths
from micrographia.measure.particles import Particles
from micrographia.micrographs.lengths import printed_unit
from micrographia.micrographs.rendering import DOTS_PER_INCH, new_figure, png_of
from micrographia.records import Box

OUTLINE, CUT, BAR = "#ff5d3b", "#77828f", "#35c4ff"
GREYED = 0.6
"""How much of a cut object is covered."""
WIDEST_INCHES, TALLEST_INCHES = 9.0, 9.0
"""Of the image in the picture."""
NARROWEST_INCHES, HISTOGRAM_INCHES, LABELS_INCHES = 5.0, 2.0, 0.75
"""Width of the picture; heights of its histogram, and of the words around that."""
FEWEST_IN_HISTOGRAM = 5
MOST_ACROSS = 600
"""Widths across fibres that are drawn: more would hide what they are of."""
COLUMNS_SHOWN = 1000
"""About so many are left of an image; outlines of wider ones are thickened so that they stay."""
BINS = 24


@dataclass(frozen=True)
class Drawing:
    """What is drawn on one image."""

    image: NDArray[np.uint8]
    """(rows, columns) or (rows, columns, 3), databar and all."""
    particles: Particles | None = None
    """Of the field, which begins at the image's upper left corner."""
    bar: Box | None = None
    """The scale bar as it was read."""
    widths: Widths | None = None
    """Across fibres, in the same field."""
    title: str = ""
    lines: Sequence[str] = ()
    """Results in words, below the picture."""


def draw(drawing: Drawing, path: Path) -> None:
    """Write the picture as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(drawn(drawing))


def drawn(drawing: Drawing, dots_per_inch: int = DOTS_PER_INCH) -> bytes:
    """The picture as PNG; below it the histogram of diameters where there are enough whole particles."""
    rows, columns = drawing.image.shape[:2]
    particles = drawing.particles
    sized = particles is not None and (~particles.cut).sum() >= FEWEST_IN_HISTOGRAM
    wide = min(WIDEST_INCHES, TALLEST_INCHES * columns / rows)
    heights = [wide * rows / columns, *([HISTOGRAM_INCHES] if sized else [])]
    words = 0.2 * len(drawing.lines) + 0.4 * bool(drawing.title) + LABELS_INCHES * bool(sized)
    figure = new_figure(max(wide, NARROWEST_INCHES), sum(heights) + words, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02)
    axes = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _picture(axes[0], drawing)
    if sized and particles is not None:
        _histogram(axes[1], particles)
    if drawing.title:
        figure.suptitle(drawing.title, fontsize=12)
    if drawing.lines:
        figure.supxlabel("\n".join(drawing.lines), fontsize=9, x=0.01, ha="left", linespacing=1.4)
    return png_of(figure, dots_per_inch)


def _picture(axes: Any, drawing: Drawing) -> None:
    axes.imshow(drawing.image, cmap="gray", vmin=0, vmax=255)
    if drawing.particles is not None:
        axes.imshow(_outlines(drawing.particles), interpolation="nearest")
    if drawing.widths is not None:
        rows, columns = _across(drawing.widths)
        axes.plot(columns, rows, color=OUTLINE, lw=0.9)
    if drawing.bar is not None:
        box = drawing.bar
        for column in (box.left, box.right):
            axes.plot([column - 0.5] * 2, [box.top - 6, box.bottom + 6], color=BAR, lw=1.2)
    rows, columns = drawing.image.shape[:2]
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.set_axis_off()


def _outlines(particles: Particles) -> NDArray[np.float32]:
    """(rows, columns, 4): the outline of each particle; those that are cut are greyed."""
    edge = find_boundaries(particles.labels, mode="inner")
    thick = particles.labels.shape[1] // COLUMNS_SHOWN
    if thick > 1:
        edge = ndimage.binary_dilation(edge, iterations=thick // 2)
    cut = np.concatenate([[False], particles.cut])[particles.labels]
    layer = np.zeros((*particles.labels.shape, 4), np.float32)
    layer[cut] = (*_rgb(CUT), GREYED)
    layer[edge & ~cut] = (*_rgb(OUTLINE), 1)
    layer[edge & cut] = (*_rgb(CUT), 1)
    return layer


def _across(widths: Widths) -> NDArray[np.float64]:
    """Rows and columns (2, 2, n) of both ends of about MOST_ACROSS of the widths."""
    shown = np.s_[:: max(1, widths.widths.size // MOST_ACROSS)]
    half = 0.5 * widths.widths[shown, None] * widths.across[shown]
    return np.stack([widths.points[shown] - half, widths.points[shown] + half]).transpose(2, 0, 1)


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))


def _histogram(axes: Any, particles: Particles) -> None:
    """Of the diameters of whole particles, with their median."""
    values = np.array([particles.length(d) for d in particles.diameters[~particles.cut]])
    median = float(np.median(values))
    unit, size = printed_unit(median) if particles.pixel_nm else (particles.unit, 1.0)
    bins = min(BINS, max(5, values.size // 3))
    axes.hist(values / size, bins=bins, color=OUTLINE, edgecolor="white", linewidth=0.5)
    axes.axvline(median / size, color="black", lw=1)
    axes.set_title(f"median {median / size:.3g} {unit}, n = {values.size}", fontsize=12)
    axes.set_xlabel(f"equivalent diameter, {unit}", fontsize=12)
    axes.set_ylabel("particles", fontsize=12)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)


def draw_agreement(
    means: NDArray[np.float64], differences: NDArray[np.float64], path: Path, what: str
) -> None:
    """The plot of Bland and Altman: differences of ``what`` over means, with bias and limits."""
    figure = new_figure(6, 4, layout="constrained")
    axes = figure.subplots()
    axes.plot(means, differences, "o", color=OUTLINE, markersize=4, alpha=0.7)
    bias, reach = float(differences.mean()), 1.96 * float(differences.std(ddof=1))
    axes.axhline(bias, color="black", lw=1)
    for limit in (bias - reach, bias + reach):
        axes.axhline(limit, color="black", lw=1, ls="--")
    for height in (bias, bias - reach, bias + reach):
        axes.annotate(f"{height:.3g}", (1, height), xycoords=("axes fraction", "data"), fontsize=8)
    axes.set_xlabel(f"{what}: mean of both")
    axes.set_ylabel(f"{what}: ours - theirs")
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_of(figure))
