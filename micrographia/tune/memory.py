"""What a stage of tuning holds in memory, measured on its model before the first step, and what there is."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from micrographia.errors import PlanError
from micrographia.tune.muon import Optimizer, moment_bytes
from micrographia.tune.precision import Precision
from micrographia.tune.processes import are_sharding, count

Model = TypeVar("Model", bound=nn.Module)
Batches = Callable[[int], Mapping[str, Any]]
"""So many rows as long as the longest, as the model takes them."""

SPARED = 0.1
"""Share of the memory that is left for what a step holds only in passing."""

FEWEST_IMAGES = 2
"""Images of a step that the recipe allows."""


@dataclass(frozen=True)
class Step:
    """How large the steps of a stage are. Their rows are counted as if each were as long as the longest."""

    stage: str
    field: str
    """Of the recipe, that says how many images a step has."""
    images: int
    """What it says."""
    rows: int
    """That are held at once, at most, by all processes."""
    longest: int | None = None
    """Tokens of a row, where a step can be cut into parts between its rows."""
    shared: bool = True
    """Whether several processes share the rows."""
    optimizer: Optimizer = "muon"


@dataclass(frozen=True)
class Footprint:
    """Bytes that one stage holds, at most, in one process."""

    step: Step
    eight_bit: int
    """Frozen weights of one byte."""
    frozen: int
    """Other frozen weights."""
    trained: int
    """Weights; their gradients are as large."""
    moments: int
    """What the optimizer remembers."""
    kept_always: int
    """For the backward pass, however many rows a step has."""
    kept_a_row: int

    @property
    def rows(self) -> int:
        """That are held at once, in this process."""
        return -(-self.step.rows // (count() if self.step.shared else 1))

    @property
    def kept(self) -> int:
        """For the backward pass."""
        return self.kept_always + self.kept_a_row * self.rows

    @property
    def standing(self) -> int:
        """All that is there between the steps."""
        return self.eight_bit + self.frozen + 2 * self.trained + self.moments

    @property
    def total(self) -> int:
        """All."""
        return self.standing + self.kept

    def rows_within(self, there: int) -> int:
        """How many rows there is memory for."""
        return max(0, there - self.standing - self.kept_always) // max(1, self.kept_a_row)

    def __str__(self) -> str:
        sizes = {
            "8-bit weights": self.eight_bit,
            "frozen weights": self.frozen,
            "trained weights": self.trained,
            "gradients": self.trained,
            "optimizer": self.moments,
            "kept for the backward pass": self.kept,
        }
        told = ", ".join(f"{mebibytes(size)} {name}" for name, size in sizes.items() if size)
        return f"{self.step.stage} at most {mebibytes(self.total)}: {told}"


@dataclass(frozen=True)
class Memory:
    """What the stages of a run need, and what there is."""

    stages: Sequence[Footprint]
    there: int | None
    """Bytes that a stage may have; None where the system does not tell."""
    accumulates: bool
    """Whether a step that is too large is to be cut into parts."""

    def lines(self) -> list[str]:
        """In words."""
        told = "how much is free is not known" if self.there is None else f"{mebibytes(self.there)} free"
        cut = f"; steps are cut into parts of at most {self.room} tokens" if self.room else ""
        return [told + cut, *map(str, self.stages)]

    @property
    def room(self) -> int | None:
        """Tokens of a part, padding among them, where steps have to be cut; None where they have not."""
        if self.there is None or not self.accumulates:
            return None
        cut = [stage for stage in self.too_large if stage.step.longest is not None]
        return min((stage.rows_within(self.there) * (stage.step.longest or 0) for stage in cut), default=None)

    @property
    def too_large(self) -> list[Footprint]:
        """Stages whose whole steps do not fit."""
        return [stage for stage in self.stages if self.there is not None and stage.total > self.there]

    def require(self) -> None:
        """Raises PlanError where a stage fits neither whole nor, where that is asked for, in parts."""
        for stage in self.too_large:
            rows = stage.rows_within(self.there or 0)
            in_parts = self.accumulates and stage.step.longest is not None and count() == 1
            if not (rows and in_parts):
                raise PlanError(
                    f"{mebibytes(self.there or 0)} of memory are free, and it takes {stage}",
                    _remedy(stage, rows, self.accumulates),
                )


def _remedy(stage: Footprint, rows: int, accumulates: bool) -> str:
    step, ways = stage.step, []
    images = rows * step.images // stage.rows
    if images >= FEWEST_IMAGES:
        ways.append(f"set {step.field} to {images}, from {step.images}")
    if step.longest is not None:
        ways.append("lower tune.texts_per_image or tune.demonstrations")
        ways.append("start more processes" if accumulates else "set tune.too_large to accumulate")
    if not rows or not ways:
        return "choose a smaller model or a larger machine"
    whole = step.longest is None and accumulates
    return ", or ".join(ways) + whole * "; its steps cannot be cut, since a loss or a norm is over all images"


def footprint(
    step: Step, model: nn.Module, batches: Batches, precision: Precision, fewest: int = 1
) -> Footprint:
    """Of a stage that trains ``model``, which is run forward: give a copy. ``batches`` has ``fewest`` rows
    at least.

    What is kept for the backward pass is measured with ``fewest`` rows and with twice as many.
    """
    tensors = [*model.parameters(), *model.buffers()]
    trained = sum(t.nbytes for t in tensors if t.requires_grad)
    eight_bit = sum(t.nbytes for t in tensors if t.dtype == torch.int8)
    frozen = sum(t.nbytes for t in tensors) - trained - eight_bit
    few, twice = (kept_bytes(model, batches(rows), precision.bf16) for rows in (fewest, 2 * fewest))
    each = max(0, twice - few) // fewest
    shares = count() if step.shared and are_sharding() else 1
    return Footprint(
        step,
        eight_bit=eight_bit // shares,
        frozen=frozen // shares,
        trained=trained // shares,
        moments=moment_bytes(model, step.optimizer) // shares,
        kept_always=max(0, few - fewest * each),
        kept_a_row=each,
    )


def kept_bytes(model: nn.Module, batch: Mapping[str, Any], bf16: bool = False) -> int:
    """Bytes that autograd keeps of one forward pass in training, every storage once, those of the model left
    out; ``bf16``: as the Trainer casts. What is drawn at random is drawn again afterwards."""
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    held: dict[int, torch.UntypedStorage] = {}  # held, so that no number is given again

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            held[storage._cdata] = storage
        return tensor

    device = next(model.parameters()).device
    batch = {name: value.to(device) for name, value in batch.items()}
    with (
        torch.random.fork_rng(),
        torch.autocast(device.type, torch.bfloat16, enabled=bf16),
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
    ):
        loss = model.train()(**batch).loss
    del loss
    return sum(storage.nbytes() for storage in held.values())


def light_copy(model: Model) -> Model:
    """The same modules anew, on the same weights: what is hung on the copy, or learns there, does not touch
    the model."""
    shared = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in model.parameters()}
    return copy.deepcopy(model, shared)


def usable(model: nn.Module) -> int | None:
    """Bytes that ``model`` and all that its training needs may have; None where the system does not tell.

    Of a GPU what is free, of a machine what is available, to each process alike.
    """
    if torch.cuda.is_available():
        free, device = torch.cuda.mem_get_info()[0], "cuda"
    elif (available := _available()) is not None:
        free, device = available // count(), "cpu"
    else:
        return None
    # A model that processes cut up stays whole in main memory, beside its parts.
    tensors = () if are_sharding() else (*model.parameters(), *model.buffers())
    held = sum(t.nbytes for t in tensors if t.device.type == device)
    return int((free + held) * (1 - SPARED))


def _available() -> int | None:
    """Linux tells what programs could have; elsewhere all there is stands for it."""
    told = Path("/proc/meminfo")
    if told.is_file():
        fields = dict(line.split(":") for line in told.read_text(encoding="utf-8").splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def mebibytes(size: int) -> str:
    """A size in words."""
    return f"{size / 2**20:,.0f} MiB" if size >= 10 * 2**20 else f"{size / 2**20:.1f} MiB"
