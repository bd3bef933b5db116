"""Plots of the report, as SVG that takes its ink from the page around it, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from micrographia.evaluate.metrics.classification import NO_CLASS

_INK = "#010203"
"""Drawn with this, the page's own text colour takes its place."""
_RIGHT, _WRONG = (0.12, 0.53, 0.62), (0.85, 0.42, 0.10)
_LINES = ("#1f889e", "#d96b1a", "#7a6fc0", "#5c8f2f", "#b4477a")
_MOST_ANNOTATED, _MOST_MARKED = 24, 40
_METADATA = ("Creator", "Date", "Format", "Type")


@dataclass(frozen=True)
class Curve:
    """One line of a learning-curve plot; curves of the same quantity share an axis."""

    name: str
    quantity: str
    """What is on the vertical axis: loss, top-1 ..."""
    steps: tuple[float, ...]
    values: tuple[float, ...]


def confusion_plot(confusion: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Confusion matrix (classes, classes + 1) as SVG: shade is the share of the true class, text the count.

    The column of answers that name no class is drawn only where it holds any.
    """
    names = [*classes, NO_CLASS]
    drawn = confusion if confusion[:, -1].any() else confusion[:, :-1]
    figure, (axes,) = _figure(2.4 + 0.42 * drawn.shape[1], 1.6 + 0.42 * drawn.shape[0], 1)
    axes.pcolormesh(_shades(drawn), edgecolors="none")
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_xticks(np.arange(drawn.shape[1]) + 0.5, names[: drawn.shape[1]], rotation=40, ha="right")
    axes.set_yticks(np.arange(drawn.shape[0]) + 0.5, classes)
    axes.set_xlabel("named by the student")
    axes.set_ylabel("true class")
    if len(classes) <= _MOST_ANNOTATED:
        for row, column in np.argwhere(drawn):
            count = str(drawn[row, column])
            axes.text(column + 0.5, row + 0.5, count, ha="center", va="center", color=_INK, fontsize=8)
    return _svg(figure, "confusion")


def curves_plot(curves: Sequence[Curve]) -> str:
    """Learning curves as SVG, one panel a quantity, against the training step."""
    quantities = tuple(dict.fromkeys(c.quantity for c in curves))
    names = tuple(dict.fromkeys(c.name for c in curves))
    figure, panels = _figure(4.6 * len(quantities), 3.0, len(quantities))
    for quantity, axes in zip(quantities, panels, strict=True):
        lines = [c for c in curves if c.quantity == quantity]
        for curve in lines:
            marker = "o" if len(curve.steps) <= _MOST_MARKED else None
            colour = _LINES[names.index(curve.name) % len(_LINES)]
            axes.plot(curve.steps, curve.values, color=colour, marker=marker, markersize=3, label=curve.name)
        axes.set_xlabel("step")
        axes.set_ylabel(quantity)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(color=_INK, alpha=0.12, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, labelcolor=_INK, fontsize=9)
    return _svg(figure, "curves")


def _shades(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """RGBA of each cell; at most half opaque, so that the ink over it can be read on either ground."""
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    rgba = np.empty((*confusion.shape, 4))
    rgba[..., :3] = _WRONG
    diagonal = np.arange(len(confusion))
    rgba[diagonal, diagonal, :3] = _RIGHT
    rgba[..., 3] = np.where(share > 0, 0.10 + 0.50 * share, 0.0)
    return rgba


def _figure(width_in: float, height_in: float, panels: int) -> tuple[Figure, tuple[Axes, ...]]:
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    figure.patch.set_alpha(0)
    axes = tuple(figure.subplots(1, panels, squeeze=False)[0])
    for one in axes:
        one.patch.set_alpha(0)
        one.tick_params(colors=_INK, labelsize=9)
        one.spines[:].set_color(_INK)
        one.xaxis.label.set_color(_INK)
        one.yaxis.label.set_color(_INK)
    return figure, axes


def _svg(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` element. A class name is text, never mathematics, whatever it holds."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(_METADATA))
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :].replace(_INK, "currentColor")
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", drawing)
