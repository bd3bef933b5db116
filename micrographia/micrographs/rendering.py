"""Matplotlib figures for people as PNG, whatever the names in them are made of."""

from __future__ import annotations

import io
import warnings
from typing import Any

DOTS_PER_INCH = 120


def new_figure(width_in: float, height_in: float, **options: Any) -> Any:
    """An empty matplotlib Figure that needs no screen; sides in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), **options)
    FigureCanvasAgg(figure)
    return figure


def png_of(figure: Any, dots_per_inch: int = DOTS_PER_INCH) -> bytes:
    """The figure as PNG, the same bytes for the same figure. A "$" in a name begins no formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    held = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a letter that the font lacks is a frame
        figure.savefig(held, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return held.getvalue()
