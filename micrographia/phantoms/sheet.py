"""A contact sheet: every category at a glance."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from micrographia.phantoms.databar import LOOKS, font
from micrographia.phantoms.picture import CATEGORIES, VARIETIES, draw

TITLE_ROWS = 22


def contact_sheet(path: Path, columns: int = 6, side: int = 160, seed: int = 0) -> Path:
    """Write a PNG with a titled row of ``columns`` pictures, ``side`` pixels square, for every category.

    Varieties take turns, so that each is seen before any is seen twice.
    """
    rows = []
    for category in CATEGORIES:
        title = Image.new("L", (columns * side, TITLE_ROWS), 255)
        ImageDraw.Draw(title).text((4, TITLE_ROWS / 2), category, fill=0, font=font(14, True), anchor="lm")
        kinds = VARIETIES[category]
        pictures = [
            draw(category, seed + k, (512, 512), databar=style, variety=kinds[k % len(kinds)].name).image
            for k, style in zip(range(columns), ((None, *LOOKS) * columns)[:columns], strict=True)
        ]
        small = [np.asarray(Image.fromarray(p).resize((side, side), Image.Resampling.BOX)) for p in pictures]
        rows += [np.asarray(title), np.hstack(small)]
    encoded = io.BytesIO()
    Image.fromarray(np.vstack(rows)).save(encoded, "PNG", optimize=True)
    path.write_bytes(encoded.getvalue())
    return path
