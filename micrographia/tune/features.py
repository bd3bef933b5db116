"""What the text side of a student is given to see: pixels for an eye that learns too, or features of one that
is locked, computed once for each of the eight ways to lay an image down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from micrographia.engine import Progress
from micrographia.students.views import VIEWS, dihedral
from micrographia.students.vision import VisionEncoder
from micrographia.tune.pixels import Pixels
from micrographia.tune.processes import first_alone

IMAGES_AT_ONCE = 16


class Sight(Protocol):
    """Gives the model's image arguments for some rows, each in one of VIEWS."""

    def __call__(self, rows: Sequence[int], views: Sequence[int]) -> dict[str, Tensor]:
        """``pixel_values``, or ``image_tokens`` and ``image_cls``."""


@dataclass(frozen=True)
class PixelSight:
    """For an eye that learns."""

    pixels: Pixels

    def __call__(self, rows: Sequence[int], views: Sequence[int]) -> dict[str, Tensor]:
        """``pixel_values`` (B, channels, size, size)."""
        return {"pixel_values": laid_down(self.pixels, rows, views)}


@dataclass(frozen=True)
class FeatureSight:
    """For a locked eye: ``tokens`` (n, 8, N, d) and ``cls`` (n, 8, d), memory-mapped."""

    tokens: NDArray[np.float16]
    cls: NDArray[np.float16]

    def __call__(self, rows: Sequence[int], views: Sequence[int]) -> dict[str, Tensor]:
        """``image_tokens`` (B, N, d) and ``image_cls`` (B, d)."""
        return {
            "image_tokens": torch.from_numpy(self.tokens[rows, views].astype(np.float32)),
            "image_cls": torch.from_numpy(self.cls[rows, views].astype(np.float32)),
        }


def laid_down(pixels: Pixels, rows: Sequence[int], views: Sequence[int]) -> Tensor:
    """The images of ``rows``, each in one of VIEWS, in float32."""
    images = torch.from_numpy(pixels[rows].astype(np.float32))
    turns = torch.tensor([VIEWS[view][0] for view in views])
    mirrored = torch.tensor([VIEWS[view][1] for view in views])
    return dihedral(images, turns, mirrored)


def look(
    eye: VisionEncoder, pixels: Pixels, rows: Sequence[int], folder: Path, progress: Progress
) -> FeatureSight:
    """Features of ``rows`` in all eight views, in two files of ``folder``; other rows hold zeros, on no disk.

    A second call reads what the first one wrote.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "looked"
    paths = folder / "tokens.npy", folder / "cls.npy"
    with first_alone():
        if not done.exists():
            d = eye.config.hidden_size
            shapes = (len(pixels), 8, eye.config.tokens, d), (len(pixels), 8, d)
            files = [
                np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
                for path, shape in zip(paths, shapes, strict=True)
            ]
            _write(eye, pixels, rows, files, progress)
            done.touch()
    tokens, cls = (np.load(path, mmap_mode="r") for path in paths)
    return FeatureSight(tokens, cls)


@torch.no_grad()
def _write(
    eye: VisionEncoder,
    pixels: Pixels,
    rows: Sequence[int],
    files: Sequence[NDArray[np.float16]],
    progress: Progress,
) -> None:
    eye.eval()
    progress.begin("looking at the images", len(rows), "images")
    for start in range(0, len(rows), IMAGES_AT_ONCE):
        batch = list(rows[start : start + IMAGES_AT_ONCE])
        for view in range(len(VIEWS)):
            seen = eye(laid_down(pixels, batch, [view] * len(batch)).to(eye.device))
            files[0][batch, view] = seen.tokens.half().cpu().numpy()
            files[1][batch, view] = seen.cls.half().cpu().numpy()
        progress.advance(len(batch))
    progress.end()
