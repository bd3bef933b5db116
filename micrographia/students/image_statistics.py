"""Statistics of a whole image that a small network learns poorly and a formula gives: how its grey values are
spread, and how its structure is spread over scales, places and directions."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLAT = 1 / 255
"""Half a grey level of an 8-bit image in [-1, 1]: a standard deviation below it is no contrast at all."""

SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""Shares of the pixels of which the quantiles are taken."""

BANDS = 5
"""Octaves of the pyramid: 128 px down to 4."""

TILES = 4
"""Tiles along each side over which the evenness of a band is judged."""

EXPOSURE = len(SHARES) + 2
"""Statistics of brightness and contrast."""

TEXTURE = len(SHARES) - 2 + 3 + 7 * BANDS
"""Statistics that brightness and contrast do not change."""

LARGEST = 4.0
"""Standard deviations beyond which an unusual statistic counts no more."""

ROUNDING = 1e-4
"""Share of a statistic's size below which its spread over images is that of rounding."""

_TINY = 1e-8


def standardise(pixel_values: Tensor) -> tuple[Tensor, Tensor]:
    """Each image with zero mean and unit standard deviation over all its pixels and channels.

    Returns the images and, (B, 2), what was removed: mean and log standard deviation. The deviation is
    held at ``FLAT`` from below, so that a flat image becomes zeros and not amplified noise; above it the
    result is exactly the same for ``a * x + b``, a > 0.
    """
    std, mean = torch.std_mean(pixel_values, dim=(1, 2, 3), keepdim=True, correction=0)
    std = std.clamp(min=FLAT)
    return (pixel_values - mean) / std, torch.cat([mean, std.log()], dim=1).flatten(1)


@torch.no_grad()
def exposure(pixel_values: Tensor) -> Tensor:
    """(B, EXPOSURE) of images (B, C, H, W): quantiles of grey, its mean and the log of its deviation."""
    grey = pixel_values.float().mean(1, keepdim=True)
    return torch.cat([_quantiles(grey), standardise(grey)[1]], dim=1)


@torch.no_grad()
def texture(pixel_values: Tensor) -> Tensor:
    """(B, TEXTURE) of images (B, C, H, W), the same for ``a * x + b``, a > 0.

    The shape of the histogram, and of each octave of a Laplacian pyramid (Burt 1983,
    doi:10.1109/TCOM.1983.1095851) the moments, evenness and orientation: a small choice of those with which
    Portilla 2000 (doi:10.1023/A:1026553619983) describes textures.
    """
    grey = standardise(pixel_values.float().mean(1, keepdim=True))[0]
    return torch.cat([*_histogram(grey), *_tones(grey), *_octaves(grey)], dim=1)


def _quantiles(grey: Tensor) -> Tensor:
    shares = torch.tensor(SHARES, device=grey.device)
    return torch.quantile(grey.flatten(1), shares, dim=1).T


def _histogram(grey: Tensor) -> Iterator[Tensor]:
    """Where the inner quantiles lie between the outer ones, and the share darker than their middle."""
    quantiles = _quantiles(grey)
    low, high = quantiles[:, :1], quantiles[:, -1:]
    yield (quantiles[:, 1:-1] - low) / (high - low + FLAT)
    yield (grey.flatten(1) < (low + high) / 2).float().mean(1, keepdim=True)


def _tones(grey: Tensor) -> Iterator[Tensor]:
    """How the mean of tiles differs over the image."""
    tiles = F.adaptive_avg_pool2d(grey, TILES).flatten(1)
    yield tiles.std(1, keepdim=True)
    yield tiles.abs().amax(1, keepdim=True)


def _octaves(grey: Tensor) -> Iterator[Tensor]:
    """Of each octave: log energy, its evenness over tiles, skewness, kurtosis, and the structure tensor."""
    for _ in range(BANDS):
        coarser = F.avg_pool2d(grey, 2)
        band = grey - F.interpolate(coarser, scale_factor=2.0, mode="bilinear", align_corners=False)
        tiles = F.adaptive_avg_pool2d(band.square(), TILES).flatten(1) + _TINY
        energy = tiles.mean(1, keepdim=True)
        moments = [band.pow(n).mean((1, 2, 3))[:, None] / energy ** (n / 2) for n in (3, 4)]
        yield energy.log()
        yield tiles.sqrt().std(1, keepdim=True) / tiles.sqrt().mean(1, keepdim=True)
        yield moments[0].sign() * moments[0].abs().log1p()
        yield moments[1].log1p()
        yield _orientation(grey)
        grey = coarser


def _orientation(grey: Tensor) -> Tensor:
    """(B, 3): cosine and sine of twice the main gradient direction, times its coherence; the coherence.

    From the structure tensor over the image (Bigun 1987, "Optimal orientation detection of linear symmetry").
    """
    right = grey[:, 0, 1:-1, 2:] - grey[:, 0, 1:-1, :-2]
    down = grey[:, 0, 2:, 1:-1] - grey[:, 0, :-2, 1:-1]
    rr, dd, rd = (product.mean((1, 2)) for product in (right * right, down * down, right * down))
    double = torch.stack([rr - dd, 2 * rd], dim=1) / (rr + dd + _TINY)[:, None]
    return torch.cat([double, double.norm(dim=1, keepdim=True)], dim=1)


class Normalised(nn.Module):
    """Statistics (B, n) in units of their own spread over the training images, none beyond LARGEST."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("deviation", torch.ones(count))

    def settle(self, values: Tensor) -> None:
        """Take the spread of ``values`` (images, n); what is the same in all of them but for rounding stays
        at zero."""
        deviation, mean = torch.std_mean(values, dim=0, correction=0)
        self.mean.copy_(mean)
        differs = deviation > ROUNDING * (1 + mean.abs())
        self.deviation.copy_(deviation.where(differs, torch.ones_like(deviation)))

    def forward(self, values: Tensor) -> Tensor:
        """The same shape."""
        return ((values - self.mean) / self.deviation).clamp(-LARGEST, LARGEST)
