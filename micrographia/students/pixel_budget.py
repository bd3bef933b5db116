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


@dataclass(frozen=True)
class Ground:
    """What an image is laid on before a processor that cuts out the middle: CLIP's, in LLaVA 1.5.

    It has the form that is cut out, (rows, columns), and the processor's mean colour, as LLaVA 1.5 was
    trained; nothing of the image is lost.
    """

    form: tuple[int, int]
    colour: tuple[int, int, int]

    def under(self, image: Image.Image) -> Image.Image:
        """The image in the middle of the smallest ground that holds it."""
        times = max(image.height / self.form[0], image.width / self.form[1])
        rows, columns = (max(1, math.ceil(side * times - 1e-6)) for side in self.form)
        ground = Image.new("RGB", (columns, rows), self.colour)
        ground.paste(image, ((columns - image.width) // 2, (rows - image.height) // 2))
        return ground


def prepared(picture: Picture, max_pixels: int | None, ground: Ground | None) -> Image.Image:
    """The whole picture in 8-bit colour, within the budget."""
    image = Image.fromarray(eight_bits(picture)).convert("RGB")
    rows, columns = fitted((image.height, image.width), max_pixels)
    if (rows, columns) != (image.height, image.width):
        image = image.resize((columns, rows), Image.Resampling.BICUBIC)
    return image if ground is None else ground.under(image)


def ground_for(image_processor: Any) -> Ground | None:
    """What images must be laid on to be seen whole; None where they are as they come.

    Found by trying. Raises StudentError where edges are lost even so.
    """
    if not _loses_edges(image_processor, None):
        return None
    crop = getattr(image_processor, "crop_size", None)
    if crop and crop["height"]:
        red, green, blue = (np.array(image_processor.image_mean) * 255).round().astype(int).tolist()
        ground = Ground((crop["height"], crop["width"]), (red, green, blue))
        if not _loses_edges(image_processor, ground):
            return ground
    raise StudentError(
        f"{type(image_processor).__name__} cuts off the edges of images",
        "set size to crop_size in the model's preprocessor_config.json",
    )


def _loses_edges(image_processor: Any, ground: Ground | None) -> bool:
    """Whether a long image with bright ends looks as one without."""
    for long in (np.index_exp[:2], np.index_exp[:, :2]):
        dark = np.zeros((192, 64) if len(long) == 1 else (64, 192), np.uint8)
        bright = dark.copy()
        bright[long] = 255
        images = [prepared(one, None, ground) for one in (dark, bright)]
        name = image_processor.model_input_names[0]
        without, with_ends = (image_processor([one], return_tensors="pt")[name] for one in images)
        if bool((without == with_ends).all()):
            return True
    return False
