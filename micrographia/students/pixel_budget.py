"""How large an image reaches a model: within a budget of pixels, whole, and in 8-bit colour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from micrographia.errors import StudentError
from micrographia.students.processor import Picture, eight_bits


@dataclass(frozen=True)
class Seen:
    """What becomes of an image of one size."""

    tokens: int
    """That it takes up in the prompt."""
    scale: float
    """Pixels of the model for each pixel of the image, along a side (geometric mean of both sides): a
    feature of 10 pixels becomes one of ``10 * scale``. Where a model sees tiles and the whole, too large."""


def fitted(size: tuple[int, int], max_pixels: int | None) -> tuple[int, int]:
    """(rows, columns) scaled down to at most ``max_pixels``, the aspect kept within half a pixel.

    Never larger than before, and a side is at least one pixel.
    """
    rows, columns = size
    if max_pixels is None or rows * columns <= max_pixels:
        return size
    factor = math.sqrt(max_pixels / (rows * columns))
    short = max(1, int(min(size) * factor))
    long = min(max(1, round(max(size) * factor)), max_pixels // short)
    return (short, long) if rows <= columns else (long, short)


def prepared(picture: Picture, max_pixels: int | None, image_processor: Any) -> Image.Image:
    """The whole picture in 8-bit colour, within the budget, as ``image_processor`` may take it.

    A processor that cuts out the middle (CLIP's, in LLaVA 1.5) gets the picture on a ground of the form that
    it cuts out, in its mean colour, as LLaVA 1.5 was trained: nothing of the picture is lost.
    """
    pixels = eight_bits(picture)
    image = Image.fromarray(pixels).convert("RGB")
    rows, columns = fitted((image.height, image.width), max_pixels)
    if (rows, columns) != (image.height, image.width):
        image = image.resize((columns, rows), Image.Resampling.BICUBIC)
    cut = _cut(image_processor)
    return image if cut is None else _on_ground(image, cut, image_processor.image_mean)


def _cut(image_processor: Any) -> tuple[int, int] | None:
    """(rows, columns) of the middle that is cut out; None where nothing is. Raises StudentError."""
    if not getattr(image_processor, "do_center_crop", False):
        return None
    crop, size = image_processor.crop_size, image_processor.size
    cut = (int(crop["height"]), int(crop["width"]))
    shortest = size.get("shortest_edge") or min(size.get("height", 0), size.get("width", 0))
    if shortest > min(cut):
        raise StudentError(
            f"its image processor scales to {shortest} pixels and cuts out {min(cut)}: edges would be lost",
            "set size to crop_size in its preprocessor_config.json",
        )
    return cut


def _on_ground(image: Image.Image, form: tuple[int, int], mean: list[float]) -> Image.Image:
    """The image in the middle of the smallest ground of the form (rows, columns)."""
    times = max(image.height / form[0], image.width / form[1])
    rows, columns = (max(1, math.ceil(side * times - 1e-6)) for side in form)
    if (rows, columns) == (image.height, image.width):
        return image
    red, green, blue = (np.array(mean) * 255).round().astype(int).tolist()
    ground = Image.new("RGB", (columns, rows), (red, green, blue))
    ground.paste(image, ((columns - image.width) // 2, (rows - image.height) // 2))
    return ground
