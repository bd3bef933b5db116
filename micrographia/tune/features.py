"""What the text side of a student is given to see: pixels for an eye that learns too, or features of one that
is locked, computed once for each of the eight ways to lay an image down."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from micrographia.engine import Progress
from micrographia.students.views import VIEWS, dihedral
from micrographia.tune.pixels import Pixels, key_of
from micrographia.tune.processes import first_alone

IMAGES_AT_ONCE = 16
FILES = ("tokens.npy", "cls.npy", "seen.npy")
"""Of a folder of features; the last says which rows are there."""
KEYS = "keys.npy"
"""Of each row, what decides what it was of: written where other sets of images may take it over."""


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
class BlankSight:
    """Zeros as large as what a student is given to see: to try what a step takes up before there is any."""

    shapes: Mapping[str, tuple[int, ...]]
    """Of one image, by the model's arguments."""

    @classmethod
    def of(cls, eye: Eye, pixels: tuple[int, ...]) -> BlankSight:
        """In place of a ``FeatureSight``; ``pixels`` (n, channels, height, width) is the shape of images."""
        with torch.no_grad():
            found, placed = eye.encode_images(torch.zeros(1, *pixels[1:], device=eye.device))
        return cls({"image_tokens": tuple(found.shape[1:]), "image_cls": tuple(placed.shape[1:])})

    def __call__(self, rows: Sequence[int], views: Sequence[int]) -> dict[str, Tensor]:
        """Those arguments for as many images."""
        return {name: torch.zeros(len(rows), *shape) for name, shape in self.shapes.items()}


@dataclass(frozen=True)
class FeatureSight:
    """For a locked eye: ``tokens`` (n, views, N, d) and ``cls`` (n, views, d), memory-mapped."""

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


class Eye(Protocol):
    """A student, as far as it looks at images."""

    device: torch.device

    def encode_images(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Image tokens (B, N, d) and embeddings (B, d')."""


def look(
    eye: Eye, pixels: Pixels, rows: Sequence[int], folder: Path, progress: Progress, views: int = len(VIEWS)
) -> FeatureSight:
    """Features of ``rows`` in the first ``views`` of VIEWS, in two files of ``folder``; other rows hold
    zeros, on no disk.

    A second call reads what the first one wrote, and adds what is new in ``rows``.
    """
    paths = [folder / name for name in FILES]
    with first_alone():
        if not (folder / FILES[-1]).exists():
            _make_empty(eye, pixels, views, folder)
        tokens, cls, seen = (np.load(path, mmap_mode="r+") for path in paths)
        new = [row for row in rows if not seen[row]]
        if new:
            _write(eye, pixels, new, (tokens, cls, seen), progress)
    return FeatureSight(*(np.load(path, mmap_mode="r") for path in paths[:2]))


def look_once(
    eye: Eye,
    pixels: Pixels,
    keys: Sequence[str],
    rows: Sequence[int],
    folder: Path,
    progress: Progress,
    views: int = len(VIEWS),
) -> FeatureSight:
    """``look``, for an eye that several sets of images are shown to: ``folder``/KEY_OF_THE_SET holds what it
    saw of this one, whose rows have ``keys``. Rows that an earlier set has too are taken from there, and the
    earlier set is removed; who has it open keeps what it maps."""
    own = folder / key_of(keys)
    with first_alone():
        for other in set(folder.glob("[!.]*")) - {own}:  # drafts of other runs have a dot
            if not own.exists():
                _take_over(other, keys, own)
            shutil.rmtree(other, ignore_errors=True)
    sight = look(eye, pixels, rows, own, progress, views)
    with first_alone():
        np.save(own / KEYS, np.asarray(keys))
    return sight


def _take_over(other: Path, keys: Sequence[str], folder: Path) -> None:
    """Make ``folder`` with the rows of ``other`` that are of the same images, where that is whole."""
    if not (other / KEYS).exists():
        return
    there = {key: row for row, key in enumerate(np.load(other / KEYS).tolist())}
    *features, seen = (np.load(other / name, mmap_mode="r") for name in FILES)
    rows = [(row, there[key]) for row, key in enumerate(keys) if key in there and seen[there[key]]]
    with _draft(folder) as draft:
        made = _files(draft, [(len(keys), *array.shape[1:]) for array in (*features, seen)])
        for row, old in rows:
            for new, array in zip(made, (*features, seen), strict=True):
                new[row] = array[old]


@torch.no_grad()
def _make_empty(eye: Eye, pixels: Pixels, views: int, folder: Path) -> None:
    tokens, placed = eye.encode_images(laid_down(pixels, [0], [0]).to(eye.device))
    n = len(pixels)
    with _draft(folder) as draft:
        _files(draft, [(n, views, *tokens.shape[1:]), (n, views, *placed.shape[1:]), (n,)])


@contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """All files at once, under another name first: of two runs that make them one is the first, and both
    write the same into its files."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield draft
        with suppress(OSError):  # another run's is there by now
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _files(folder: Path, shapes: Sequence[tuple[int, ...]]) -> list[NDArray[Any]]:
    """Zeros, on no disk, in which rows are written."""
    return [
        np.lib.format.open_memmap(folder / name, mode="w+", dtype=kind, shape=shape)
        for name, shape, kind in zip(FILES, shapes, (np.float16, np.float16, bool), strict=True)
    ]


@torch.no_grad()
def _write(
    eye: Eye,
    pixels: Pixels,
    rows: Sequence[int],
    files: Sequence[NDArray[Any]],
    progress: Progress,
) -> None:
    tokens, cls, seen = files
    progress.begin("looking at the images", len(rows), "images")
    for start in range(0, len(rows), IMAGES_AT_ONCE):
        batch = list(rows[start : start + IMAGES_AT_ONCE])
        for view in range(tokens.shape[1]):
            shown = laid_down(pixels, batch, [view] * len(batch))
            found, placed = eye.encode_images(shown.to(eye.device))
            tokens[batch, view] = found.half().cpu().numpy()
            cls[batch, view] = placed.half().cpu().numpy()
        seen[batch] = True
        progress.advance(len(batch))
    progress.end()
