"""Other views of the same micrograph: turned and mirrored so that texts can follow, nearer and farther."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from micrographia.students.image_statistics import standardise

VIEWS = [(turns, mirrored) for mirrored in (False, True) for turns in range(4)]
"""The eight ways to lay an image down: quarter turns counter-clockwise, after mirroring left-right."""


@dataclass(frozen=True)
class Views:
    """``images`` (B, C, H, W) and how each was turned: ``turns`` (B,) in 0-3 and ``mirrored`` (B,) bool."""

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
    images: Tensor, generator: torch.Generator, *, sides: tuple[float, float] = (0.7, 1.3)
) -> Views:
    """A random view of each image (B, C, H, W; square, in [-1, 1]).

    Turned and mirrored, and a square window with its side within ``sides`` of the image's, scaled to full
    size; where the window is the larger, the image goes on mirrored at its
    edges. Sides on both matter: views that only enlarge make whole images, which the student is later
    asked about, look finer than anything it has learned from (Touvron 2019, arXiv:1906.06423).

    Every view gets the mean and the standard deviation of its image, so that a text about brightness or
    contrast stays true.
    """
    count = len(images)
    turns = torch.randint(4, (count,), generator=generator)
    mirrored = torch.rand(count, generator=generator) < 0.5
    views = random_windows(dihedral(images, turns, mirrored), generator, sides)
    return Views(_exposed_as(images, views), turns, mirrored)


def random_windows(images: Tensor, generator: torch.Generator, sides: tuple[float, float]) -> Tensor:
    """A square window on each image, its side within ``sides`` of the image's, scaled to full size.

    It lies inside the image where it is smaller, and around it where it is larger.
    """
    count, (smallest, largest) = len(images), sides
    side = smallest + (largest - smallest) * torch.rand(count, 1, generator=generator)
    centre = (1 - side) * (2 * torch.rand(count, 2, generator=generator) - 1)
    frame = torch.cat([torch.diag_embed(side.expand(count, 2)), centre[:, :, None]], dim=2)
    grid = F.affine_grid(frame, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _exposed_as(images: Tensor, views: Tensor) -> Tensor:
    mean, log_std = standardise(images)[1].unbind(1)
    return standardise(views)[0] * log_std.exp()[:, None, None, None] + mean[:, None, None, None]
