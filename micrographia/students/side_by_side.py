"""Several images of one question: their tokens side by side, each marked with the place of its image."""

from __future__ import annotations

import torch
from torch import Tensor

from micrographia.errors import StudentError

NO_IMAGE = -1
"""Fills up the row of a question that is about fewer images than another."""

PLACES = 100.0
"""Longest wavelength of the marks, over 2 pi: far fewer images than this stand side by side."""


def side_by_side(image_tokens: Tensor, image_index: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (T, I N, d) of the images of each question, and which of them are there, (T, I N) bool.

    ``image_tokens`` (B, N, d) of images that have been looked at once; ``image_index`` (T, I): the images of
    question t in their order, filled up with ``NO_IMAGE``. The first image's tokens are left as they are.

    Raises ``StudentError`` where a question is about no image.
    """
    there = image_index >= 0
    if not there[:, 0].all():
        text = int((~there[:, 0]).nonzero()[0])
        raise StudentError(
            f"image_index of text {text} is {image_index[text].tolist()}",
            f"begin with an image, and fill up with {NO_IMAGE} at the end",
        )
    marked = image_tokens[image_index.clamp(min=0)] + marks(image_index.shape[1], image_tokens)[:, None]
    return marked.flatten(1, 2), there.repeat_interleave(image_tokens.shape[1], 1)


def marks(images: int, like: Tensor) -> Tensor:
    """What is added to the tokens of the first, second ... image: (images, d) for tokens ``like`` (..., d).

    The sinusoidal code of a position (Vaswani 2017, arXiv:1706.03762, section 3.5), for waves of up to
    ``PLACES`` places, less that of the first place: zero for an image that stands alone.
    """
    waves = torch.arange(0, like.shape[-1], 2, device=like.device) / like.shape[-1]
    angles = torch.arange(images, device=like.device)[:, None] / PLACES**waves
    code = torch.stack([angles.sin(), angles.cos() - 1], dim=2).flatten(1)
    return code[:, : like.shape[-1]].to(like.dtype)
