"""Images at the student's size, made once, memory-mapped, and read by every epoch, fold and evaluation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from micrographia import engine
from micrographia.engine import Progress
from micrographia.errors import PlanError
from micrographia.micrographs.field import open_field
from micrographia.records import Micrograph
from micrographia.students.processor import MVaEMaImageProcessor
from micrographia.tune.processes import first_alone
from micrographia.workspace import Workspace

Pixels: TypeAlias = NDArray[np.float16]
IMAGES_AT_ONCE = 16

VERSION = 1
"""Counts up when the same image comes out otherwise."""


@dataclass(frozen=True)
class Scaling:
    """How a display image becomes the eye's input."""

    size: int
    """Pixels along each side."""
    scale: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    """A display image to (channels, size, size); grey of one channel stays so where ``grey``."""
    grey: bool
    """Whether one channel is enough where no image has colour."""
    settings: str = ""
    """What decides the result beside the size."""


def ours(size: int) -> Scaling:
    """For an eye of ours: in [-1, 1]."""
    by_channels = {channels: MVaEMaImageProcessor(size, channels) for channels in (1, 3)}

    def scale(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = by_channels[3 if image.ndim == 3 else 1].preprocess(image, "np")["pixel_values"][0]
        return np.asarray(pixels, np.float32)

    return Scaling(size, scale, grey=True)


def prepare(
    workspace: Workspace, micrographs: Sequence[Micrograph], scaling: Scaling, progress: Progress
) -> Pixels:
    """The images in their order, (n, channels, size, size); one channel where that is enough.

    Half precision keeps four times the steps of 8-bit grey.
    What an earlier run made of the same images is used again; what lies there of another set of images at
    this size is removed, since the workspace holds that set no more. All folds share one set, and recipes of
    another size keep theirs. Raises PlanError for an image that can no longer be read: it was read when it
    was ingested, so its object is gone or damaged.
    """
    key = key_of(image_keys(micrographs, scaling))
    path = workspace.folder / "cache" / f"pixels-{scaling.size}-{key}.npy"
    with first_alone():
        _remove_leftovers(path, scaling.size)
        if not path.exists():
            _make(workspace, micrographs, scaling, path, progress)
    return np.load(path, mmap_mode="r")


def image_keys(micrographs: Sequence[Micrograph], scaling: Scaling) -> list[str]:
    """Of all that decides the pixels of each image."""
    same = f"{VERSION} {scaling.size} {scaling.settings}"
    return [_digest(f"{same}{m.id} {m.field} {m.burnt_in}") for m in micrographs]


def key_of(keys: Sequence[str]) -> str:
    """Of a set of images in their order."""
    return _digest(" ".join(keys))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _make(
    workspace: Workspace, micrographs: Sequence[Micrograph], scaling: Scaling, path: Path, progress: Progress
) -> None:
    """Workers decode the files; scaling is quick, and its module too heavy to load in each of them."""
    path.parent.mkdir(exist_ok=True)
    draft, size = path.with_suffix(f".{os.getpid()}.part"), scaling.size
    pixels = _file(draft, (len(micrographs), 3, size, size))
    colour = not scaling.grey
    progress.begin("preparing images", len(micrographs), "images")
    opened = engine.apply(partial(open_field, workspace.objects), micrographs, workspace.workers)
    for row, outcome in enumerate(opened):
        if outcome.result is None:
            raise PlanError(f"{outcome.item.name} can no longer be read", outcome.reason or "")
        colour = colour or outcome.result.ndim == 3
        pixels[row] = scaling.scale(outcome.result)
        progress.advance()
    progress.end()
    if not colour:
        draft.unlink()
        grey = _file(draft, (len(micrographs), 1, size, size))
        grey[:] = pixels[:, :1]
        pixels = grey
    pixels.flush()
    draft.rename(path)


def _remove_leftovers(path: Path, size: int) -> None:
    """Who has an older file open keeps what it maps: only its name goes."""
    for other in path.parent.glob(f"pixels-{size}-*.npy"):
        if other != path:
            other.unlink(missing_ok=True)
    for draft in path.parent.glob("pixels-*.part"):
        process = int(draft.suffixes[0].removeprefix("."))
        # This process has no draft yet: one with its number is of an earlier process of that number.
        if process == os.getpid() or not _is_running(process):
            draft.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another person's
        return True
    return True


def _file(path: Path, shape: tuple[int, ...]) -> np.memmap[tuple[int, ...], np.dtype[np.float16]]:
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)


def some_at_a_time(pixels: Pixels, rows: Sequence[int]) -> Iterator[torch.Tensor]:
    """The images of ``rows`` in float32, IMAGES_AT_ONCE in a batch."""
    for start in range(0, len(rows), IMAGES_AT_ONCE):
        yield torch.from_numpy(pixels[list(rows[start : start + IMAGES_AT_ONCE])].astype(np.float32))
