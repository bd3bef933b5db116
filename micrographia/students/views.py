"""Other views of the same micrograph: turns and mirrors that texts can follow, crops and uneven light."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from micrographia.students.vision import standardise


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
    images: Tensor,
    generator: torch.Generator,
    turn: Tensor,
    *,
    sides: tuple[float, float] = (0.6, 1.0),
    shading: float = 0.4,
    tone: float = 0.3,
) -> Views:
    """A random view of each image (B, C, H, W; square, in [-1, 1]).

    A turn and mirror where ``turn`` (B,) allows it; a square crop with its side within ``sides`` of the
    whole, scaled back to full size (above 1 the image goes on mirrored at its edges); light that falls off
    by up to ``shading`` towards a side; a tone curve bent by up to ``tone``. Every view gets the mean and
    the standard deviation of the image it comes from, so that a text about brightness or contrast stays
    true; what shading and tone teach is that neither they nor the exposure tell the class.
    """
    count = len(images)
    turns = torch.randint(4, (count,), generator=generator) * turn
    mirrored = (torch.rand(count, generator=generator) < 0.5) & turn
    views = random_crops(dihedral(images, turns, mirrored), generator, sides)
    views = uneven_light(views, generator, shading, tone)
    return Views(_exposed_as(images, views), turns, mirrored)


def random_crops(images: Tensor, generator: torch.Generator, sides: tuple[float, float]) -> Tensor:
    """A square crop of each image, its side within ``sides`` of the whole, scaled back to full size."""
    count, (smallest, largest) = len(images), sides
    side = smallest + (largest - smallest) * torch.rand(count, 1, generator=generator)
    centre = (1 - side) * (2 * torch.rand(count, 2, generator=generator) - 1)
    frame = torch.diag_embed(side.expand(count, 2))
    frame = torch.cat([frame, centre[:, :, None]], dim=2)
    grid = F.affine_grid(frame, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def uneven_light(images: Tensor, generator: torch.Generator, shading: float, tone: float) -> Tensor:
    """Multiply the intensity by a plane that falls off to one side, and bend the tone curve.

    The curve x + t(1 - x^2) keeps black and white where they are and, for t below 1/2, the order of greys.
    """
    count, _, rows, columns = images.shape
    down, across, bend = 2 * torch.rand(3, count, 1, 1, 1, generator=generator) - 1
    plane = down * torch.linspace(-1, 1, rows)[:, None] + across * torch.linspace(-1, 1, columns)
    images = images + tone * bend * (1 - images.square())
    return (1 + images) * (1 + shading * plane / 2) - 1


def _exposed_as(images: Tensor, views: Tensor) -> Tensor:
    mean, log_std = standardise(images)[1].unbind(1)
    return standardise(views)[0] * log_std.exp()[:, None, None, None] + mean[:, None, None, None]
