"""Other views of the same micrograph: turns and mirrors that texts can follow, crops, exposure."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Views:
    """``images`` (B, C, H, W) and how each was made: ``turns`` (B,) in 0-3 and ``mirrored`` (B,) bool."""

    images: Tensor
    turns: Tensor
    mirrored: Tensor


def dihedral(images: Tensor, turns: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror left-right where ``mirrored``, then turn by ``turns`` quarters counter-clockwise.

    ``images`` (B, C, H, W), square; ``turns`` (B,) whole numbers; ``mirrored`` (B,) bool. It is
    ``np.rot90(np.fliplr(image), turns)`` for each image.
    """
    views = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    for quarters in (1, 2, 3):
        chosen = turns % 4 == quarters
        views[chosen] = views[chosen].rot90(quarters, dims=(2, 3))
    return views


def random_views(
    images: Tensor,
    generator: torch.Generator,
    turn: Tensor,
    *,
    smallest_crop: float = 0.6,
    exposure: float = 0.2,
) -> Views:
    """A random view of each image (B, C, H, W; square, in [-1, 1]).

    A turn and mirror where ``turn`` (B,) allows it, a square crop of ``smallest_crop`` to 1 of the side
    scaled back to full size, contrast times 1 +- ``exposure`` and brightness +- ``exposure``.
    """
    count = len(images)
    turns = torch.randint(4, (count,), generator=generator) * turn
    mirrored = (torch.rand(count, generator=generator) < 0.5) & turn
    images = random_crops(dihedral(images, turns, mirrored), generator, smallest_crop)
    if exposure:
        contrast, brightness = exposure * (2 * torch.rand(2, count, 1, 1, 1, generator=generator) - 1)
        images = images * (1 + contrast) + brightness
    return Views(images, turns, mirrored)


def random_crops(images: Tensor, generator: torch.Generator, smallest: float) -> Tensor:
    """A square crop of each image, its side ``smallest`` to 1 of the whole, scaled back to full size."""
    count = len(images)
    side = smallest + (1 - smallest) * torch.rand(count, 1, generator=generator)
    centre = (1 - side) * (2 * torch.rand(count, 2, generator=generator) - 1)
    frame = torch.zeros(count, 2, 3)
    frame[:, 0, 0] = frame[:, 1, 1] = side[:, 0]
    frame[:, :, 2] = centre
    grid = F.affine_grid(frame, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
