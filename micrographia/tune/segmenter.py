"""Train the networks of ``measure/segment`` on drawings: ``python -m micrographia.tune.segmenter particles``.

Nothing but drawings is seen; a draft beside the weights is written every few minutes, and a run that was
stopped goes on from it.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy import ndimage
from torch import Tensor

from micrographia import phantoms
from micrographia.engine import apply
from micrographia.measure.fibres import LARGEST_ZOOM, SEEN_WIDTHS
from micrographia.measure.segment.instances import depth_of
from micrographia.measure.segment.network import (
    PARTICLES,
    STRANDS,
    SegmenterNetwork,
    standardised,
)
from micrographia.phantoms.dispersions import Dispersion, Labels, draw_dispersion, draw_strands

SIDE, WHOLE = 192, 464
"""Pixels of a training image, and of the phantoms that some are cut from."""
DRAWN_AT_ONCE = 64
"""Images that a process draws in one go: it costs less to hand them over."""
CUTS, STRAND_CUTS = 8, 28
"""Of those drawn at once, so many are cut from whole phantoms: for particles, for strands."""
OTHERS = 12
"""And so many are of the other kind: strands for the network of particles, particles for that of strands."""

Batch = tuple[NDArray[np.float16], NDArray[np.float16]]
"""(DRAWN_AT_ONCE, 1, SIDE, SIDE) standardised images, (DRAWN_AT_ONCE, 3, SIDE, SIDE) targets."""


@dataclass(frozen=True)
class Task:
    """What one of the networks learns."""

    draw: Callable[[int], Batch]
    loss: Callable[[Tensor, Tensor], Tensor]
    weights: Path
    start: Path | None = None
    """Weights it begins with; None for random ones."""
    uses: int = 1
    """How often a drawing is learned from, turned and mirrored otherwise each time."""


def targets_of(labels: Labels) -> NDArray[np.float32]:
    """(3, rows, columns): particle or not; where two meet; depth, 1 in the middle of each particle."""
    return np.stack([labels > 0, contact_of(labels), depth_of(labels)]).astype(np.float32)


def contact_of(labels: Labels) -> NDArray[np.bool_]:
    """Pixels of a particle within two of which another one lies."""
    ground = np.iinfo(np.int32).max
    largest = ndimage.maximum_filter(labels, 5)
    smallest = ndimage.minimum_filter(np.where(labels > 0, labels, ground), 5)
    return np.asarray((labels > 0) & (largest != smallest))


def strand_targets_of(drawn: Dispersion) -> NDArray[np.float32]:
    """(3, rows, columns): strand or not; its outline; its depth, NaN where not known. Particles are none."""
    if drawn.depth is None:
        return np.zeros((3, *drawn.labels.shape), np.float32)
    return np.stack([drawn.labels > 0, outline_of(drawn.labels), drawn.depth]).astype(np.float32)


def outline_of(labels: Labels) -> NDArray[np.bool_]:
    """Pixels on either side of where one label ends and another, or ground, begins."""
    return np.asarray(ndimage.maximum_filter(labels, 3) != ndimage.minimum_filter(labels, 3))


def draw_particle_batch(seed: int) -> Batch:
    """Dispersions, some strands, and cuts from whole phantoms."""
    rng = np.random.default_rng(seed)
    drawn = [
        *_cuts(rng, ("Particles", "Powder", "Fibres", "Nanowires"), CUTS),
        *(draw_strands(rng, SIDE) for _ in range(OTHERS)),
        *(draw_dispersion(rng, SIDE) for _ in range(DRAWN_AT_ONCE - CUTS - OTHERS)),
    ]
    return _batch(rng, drawn, lambda one: targets_of(one.labels))


def draw_strand_batch(seed: int) -> Batch:
    """Strands, some dispersions, and cuts from whole phantoms, of which no depth is known."""
    rng = np.random.default_rng(seed)
    drawn = [
        *_cuts(rng, ("Fibres", "Nanowires"), STRAND_CUTS),
        *(draw_dispersion(rng, SIDE) for _ in range(OTHERS)),
        *(_enlarged(rng) for _ in range(DRAWN_AT_ONCE - STRAND_CUTS - OTHERS)),
    ]
    return _batch(rng, drawn, strand_targets_of)


def _enlarged(rng: np.random.Generator) -> Dispersion:
    """Strands as they were drawn, or enlarged by up to LARGEST_ZOOM, as small images are looked at."""
    zoom = float(np.clip(np.exp(rng.uniform(-1, 1) * np.log(LARGEST_ZOOM)), 1, None))
    drawn = draw_strands(rng, round(SIDE / zoom))
    if zoom == 1 or drawn.depth is None:
        return drawn

    def enlarged(values: NDArray[Any], how: Image.Resampling) -> NDArray[Any]:
        return np.asarray(Image.fromarray(values).resize((SIDE, SIDE), how))

    return Dispersion(
        enlarged(drawn.image, Image.Resampling.BICUBIC),
        enlarged(drawn.labels, Image.Resampling.NEAREST),
        enlarged(drawn.depth, Image.Resampling.BILINEAR),
    )


def _batch(
    rng: np.random.Generator, drawn: list[Dispersion], targets: Callable[[Dispersion], NDArray[np.float32]]
) -> Batch:
    chosen = [drawn[k] for k in rng.permutation(DRAWN_AT_ONCE)]
    images = np.stack([standardised(one.image)[None] for one in chosen]).astype(np.float16)
    return images, np.stack([targets(one) for one in chosen]).astype(np.float16)


def _cuts(rng: np.random.Generator, categories: tuple[str, ...], number: int) -> Iterator[Dispersion]:
    """Squares of whole phantoms, four of each, reduced by up to 2.4; of strands, whose width is known, so
    that most lie within those that the network is to see, which may enlarge them by up to 2."""
    for k in range(number):
        if k % 4 == 0:
            seed = int(rng.integers(1 << 30, 1 << 31))
            phantom = phantoms.draw(str(rng.choice(categories)), seed, (WHOLE, WHOLE))
            widths = [one.width_px for one in phantom.truth.objects if one.width_px]
        reduced = float(np.exp(rng.uniform(0, np.log(WHOLE / SIDE))))
        if widths:
            wanted = float(np.exp(rng.uniform(*np.log(SEEN_WIDTHS))))
            reduced = float(np.clip(np.median(widths) / wanted, 1 / LARGEST_ZOOM, WHOLE / SIDE))
        yield _cut(rng, phantom, int(reduced * SIDE))


def _cut(rng: np.random.Generator, phantom: phantoms.Phantom, side: int) -> Dispersion:
    """A square of ``side`` pixels as one of SIDE; of its strands no depth is known."""
    row, column = (int(rng.integers(0, WHOLE - side + 1)) for _ in range(2))
    window = np.s_[row : row + side, column : column + side]
    how = Image.Resampling.BOX if side > SIDE else Image.Resampling.BICUBIC
    image = Image.fromarray(phantom.image[window]).resize((SIDE, SIDE), how)
    instances = np.zeros((WHOLE, WHOLE), np.int32) if phantom.instances is None else phantom.instances
    small = np.asarray(Image.fromarray(instances[window]).resize((SIDE, SIDE), Image.Resampling.NEAREST))
    found: Labels = np.searchsorted(np.union1d([0], small), small).astype(np.int32)
    unknown = np.where(found > 0, np.float32(np.nan), np.float32(0))
    return Dispersion(np.asarray(image), found, unknown)


def particle_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy and Dice of foreground, weighted cross-entropy of contact, squared error of depth."""
    contact = F.binary_cross_entropy_with_logits(
        outputs[:, 1], targets[:, 1], pos_weight=outputs.new_tensor(4.0)
    )
    depth = F.mse_loss(outputs[:, 2], targets[:, 2])
    return _foreground_loss(outputs, targets) + 0.5 * contact + 4 * depth


def strand_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """That of foreground, weighted cross-entropy of outline, squared error of depth where it is known."""
    outline = F.binary_cross_entropy_with_logits(
        outputs[:, 1], targets[:, 1], pos_weight=outputs.new_tensor(2.0)
    )
    known = ~targets[:, 2].isnan()
    depth = (outputs[:, 2] - targets[:, 2].nan_to_num()).square()[known].mean()
    return _foreground_loss(outputs, targets) + 2 * outline + 4 * depth


def _foreground_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    entropy = F.binary_cross_entropy_with_logits(outputs[:, 0], targets[:, 0])
    share, truth = outputs[:, 0].sigmoid(), targets[:, 0]
    overlap = (2 * (share * truth).sum((1, 2)) + 1) / (share.sum((1, 2)) + truth.sum((1, 2)) + 1)
    return entropy + 0.5 * (1 - overlap).mean()


TASKS = {
    "particles": Task(draw_particle_batch, particle_loss, PARTICLES),
    "strands": Task(draw_strand_batch, strand_loss, STRANDS, start=PARTICLES, uses=2),
}


def batches(task: Task, first: int, last: int, size: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Steps ``first`` to ``last`` - 1; the same numbers give the same images."""
    per_draw = task.uses * DRAWN_AT_ONCE // size
    seeds = range(first // per_draw, math.ceil(last / per_draw))
    for outcome in apply(task.draw, seeds, workers):
        if outcome.result is None:
            raise RuntimeError(outcome.reason)
        images, targets = (torch.from_numpy(values.astype(np.float32)) for values in outcome.result)
        for k in range(per_draw):
            if not first <= outcome.item * per_draw + k < last:
                continue
            part = slice(k * size % DRAWN_AT_ONCE, k * size % DRAWN_AT_ONCE + size)
            again = k * size // DRAWN_AT_ONCE
            yield _turned(images[part], k + again, again), _turned(targets[part], k + again, again)


def _turned(values: Tensor, turns: int, mirrored: int) -> Tensor:
    return (values.flip(3) if mirrored % 2 else values).rot90(turns % 4, (2, 3))


def train(
    task: Task, steps: int, size: int, rate: float, workers: int, draft: Path, save_every: float = 120
) -> None:
    """Train, or go on with the draft; the weights are written when all steps are done."""
    torch.manual_seed(0)
    network = SegmenterNetwork()
    if task.start:
        network.load_state_dict({name: value.float() for name, value in load_file(task.start).items()})
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), rate, betas=(0.9, 0.98), weight_decay=0.02)
    done = _resume(network, average, optimizer, draft)
    begun = saved = time.monotonic()
    running = 0.0
    for step, (images, targets) in enumerate(batches(task, done, steps, size, workers), start=done):
        warm = min(1.0, (step + 1) / 200)
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        loss = task.loss(network(images.contiguous(memory_format=torch.channels_last)), targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        keep = min(0.998, (step + 1) / (step + 10))
        for name, value in network.state_dict().items():
            average[name].lerp_(value, 1 - keep) if value.is_floating_point() else average[name].copy_(value)
        running = 0.98 * running + 0.02 * loss.item() if step > done else loss.item()
        if time.monotonic() - saved > save_every:
            saved = time.monotonic()
            _save(network, average, optimizer, step + 1, draft)
            speed = (step + 1 - done) / (saved - begun)
            print(f"step {step + 1} of {steps}: loss {running:.4f}, {speed:.2f} steps/s", flush=True)  # noqa: T201
    save_file({name: value.half().contiguous() for name, value in average.items()}, task.weights)
    draft.unlink(missing_ok=True)


def _save(
    network: SegmenterNetwork,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    step: int,
    draft: Path,
) -> None:
    tensors = {f"network.{name}": value.contiguous() for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value.contiguous() for name, value in average.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value.contiguous() for name, value in state.items()}
    beside = draft.with_suffix(".part")
    save_file(tensors, beside, {"step": str(step)})
    beside.replace(draft)


def _resume(
    network: SegmenterNetwork, average: dict[str, Tensor], optimizer: torch.optim.Optimizer, draft: Path
) -> int:
    """Load the draft; how many steps it has seen, 0 where there is none."""
    if not draft.exists():
        return 0
    tensors = load_file(draft)
    network.load_state_dict(
        {n.removeprefix("network."): v for n, v in tensors.items() if n.startswith("network.")}
    )
    average |= {n.removeprefix("average."): v for n, v in tensors.items() if n.startswith("average.")}
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".")
            state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    with safe_open(draft, "pt") as file:
        return int(file.metadata()["step"])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=tuple(TASKS))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--workers", type=int, default=2, help="processes that draw; 1 draws in this one")
    parser.add_argument("--draft", type=Path, help="where a run that is stopped goes on from")
    options = parser.parse_args()
    if options.batch < 1 or DRAWN_AT_ONCE % options.batch:
        parser.error(f"--batch is {options.batch}; {DRAWN_AT_ONCE} are drawn at once, which it must divide")
    task = TASKS[options.what]
    draft = options.draft or task.weights.with_suffix(".draft")
    train(task, options.steps, options.batch, options.rate, options.workers, draft)


if __name__ == "__main__":
    main()
