"""A small network that tells of each pixel whether it is of a particle, where two meet, and how deep it lies.

A U-Net (Ronneberger et al. 2015, arXiv:1505.04597) at half resolution. It learned from drawings alone
(``tune/segmenter.py``); its weights lie beside it. No other file below the students loads torch.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

PARTICLES, STRANDS = (Path(__file__).parent / f"{name}.safetensors" for name in ("particles", "strands"))
"""Weights of the two networks, alike but for what they learned."""
WIDTHS = (24, 48, 80, 112, 144)
"""Channels by level; the first is at half resolution."""
MULTIPLE = 2 ** len(WIDTHS)
"""Sides of the input are padded to a multiple of it."""
OUTPUTS = 3


class _Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.first_norm = nn.GroupNorm(8, after)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.second_norm = nn.GroupNorm(8, after)
        self.shortcut = nn.Conv2d(before, after, 1, bias=False) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.first_norm(self.first(x)))
        return F.silu(self.second_norm(self.second(y)) + self.shortcut(x))


class SegmenterNetwork(nn.Module):
    """(n, 1, rows, columns) standardised grey -> (n, 3, rows, columns): logits, logits, and depth."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, widths[0], 5, stride=2, padding=2)
        self.down = nn.ModuleList(
            _Block(before, after) for before, after in zip((widths[0], *widths), widths, strict=False)
        )
        self.up = nn.ModuleList(
            _Block(deep + shallow, shallow)
            for deep, shallow in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], OUTPUTS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """What is seen in standardised grey, whose sides are multiples of MULTIPLE."""
        y, skips = self.stem(x), []
        for level, block in enumerate(self.down):
            y = block(y if level == 0 else F.max_pool2d(y, 2))
            skips.append(y)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            y = block(torch.cat([F.interpolate(y, scale_factor=2.0, mode="nearest"), skip], 1))
        return F.interpolate(self.head(y), scale_factor=2.0, mode="bilinear", align_corners=False)


def standardised(grey: NDArray[np.floating]) -> NDArray[np.float32]:
    """Mean 0 and standard deviation 1; an even image is 0 everywhere."""
    values = np.asarray(grey, np.float32)
    return np.asarray((values - values.mean()) / max(float(values.std()), 1.0), np.float32)


@cache
def _network(weights: Path) -> SegmenterNetwork:
    network = SegmenterNetwork()
    network.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
    return network.eval()


def look(grey: NDArray[np.floating]) -> NDArray[np.float32]:
    """(3, rows, columns) for ``grey`` (rows, columns): particle, contact of two, and depth, each 0 to 1.

    The first two are probabilities. Depth is 0 at a particle's outline and 1 in its middle.
    """
    return _seen(PARTICLES, grey)


def look_for_strands(grey: NDArray[np.floating]) -> NDArray[np.float32]:
    """(3, rows, columns): fibre or wire, its outline, and depth: 0 at its sides and 1 on its axis."""
    return _seen(STRANDS, grey)


def _seen(weights: Path, grey: NDArray[np.floating]) -> NDArray[np.float32]:
    rows, columns = grey.shape
    padding = ((0, -rows % MULTIPLE), (0, -columns % MULTIPLE))
    how: Literal["reflect", "edge"] = "reflect" if min(grey.shape) > MULTIPLE else "edge"
    padded = np.pad(standardised(grey), padding, mode=how)
    with torch.inference_mode():
        seen = _network(weights)(torch.from_numpy(padded)[None, None])[0, :, :rows, :columns].clone()
        seen[:2] = seen[:2].sigmoid()
        return np.asarray(seen.clamp(0, 1).numpy())
