"""What a stage of tuning holds in memory, measured on its model before the first step, and what there is."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from micrographia.errors import PlanError
from micrographia.recipe import TuneSection
from micrographia.tune.backward import kept_bytes, layers_to_run_again
from micrographia.tune.muon import Optimizer, moment_bytes
from micrographia.tune.precision import Precision
from micrographia.tune.processes import are_sharding, count

Model = TypeVar("Model", bound=nn.Module)
Row = TypeVar("Row")
Batches = Callable[[int], Mapping[str, Any]]
"""So many rows as long as the longest, as the model takes them."""

SPARED = 0.1
"""Share of the memory that is left for what a step holds only in passing."""

FEWEST_IMAGES = 2
"""Images of a step that the recipe allows."""

LEAST = {"texts_per_image": 1, "demonstrations": 0}
"""Where a field of the recipe cannot be lowered; the others can."""

PARTS = 4
"""Parts into which the largest step of words is cut: rows of like length need little padding, and fewer would
be kept at once; more are no quicker."""


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
    shorter: Sequence[str] = ()
    """What can be done in the recipe so that a row takes less."""
    fewer: Sequence[str] = ()
    """What can be done so that they become fewer."""
    shared: bool = True
    """Whether several processes share the rows."""
    optimizer: Optimizer = "muon"
    checkpointing: bool = False
    """Whether each layer keeps its input alone, and runs once more for its backward pass."""

    @property
    def room(self) -> int | None:
        """Tokens of a part of the step; None where it is taken whole, as by several processes: all would need
        as many parts."""
        return None if self.longest is None or count() > 1 else self.rows * self.longest


def words_step(
    recipe: TuneSection,
    largest: Iterable[Sequence[Row]],
    length: Callable[[Row], int],
    shorter: Sequence[str],
    fewer: Sequence[str] = (),
) -> tuple[Step, Row]:
    """The largest step of learning words, and its longest row. ``largest`` are rows that an image brings to
    one step, of every image the most and the longest; ``shorter`` and ``fewer`` are fields of the recipe."""
    images = list(largest)
    longest = max((row for rows in images for row in rows), key=length)
    rows = recipe.batch * max(map(len, images))
    at_once = -(-rows // (PARTS if count() == 1 else 1))
    less = [] if recipe.gradient_checkpointing else ["set tune.gradient_checkpointing to true"]
    step = Step(
        *("learning words", "tune.batch", recipe.batch, at_once, length(longest)),
        *([*less, *_lower(recipe, shorter)], _lower(recipe, fewer)),
        optimizer=recipe.optimizer,
        checkpointing=recipe.gradient_checkpointing,
    )
    return step, longest


def _lower(recipe: TuneSection, fields: Sequence[str]) -> list[str]:
    """What can be done to fields, without those that are as low as they go."""
    values = {name: getattr(recipe, name) for name in fields}
    return [
        f"set tune.{name}" if value is None else f"lower tune.{name} from {value}"
        for name, value in values.items()
        if value is None or value > LEAST.get(name, 0)
    ]


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

    def room_once(self, path: Path) -> int | None:
        """Tokens of a part of the last stage's steps; None where they are taken whole. The choice is kept in
        ``path``: a training that goes on after a kill draws dropout for the parts in which it began, unless
        they do not fit what is free now even without the tenth that is spared."""
        room = self.room or self.stages[-1].step.room
        if room is None:
            return None
        kept = int(path.read_text(encoding="utf-8")) if path.exists() else None
        if kept is not None and kept <= (replace(self, there=self._all_there).room or kept):
            return kept
        draft = path.with_suffix(".part")
        draft.write_text(str(room), encoding="utf-8")
        draft.replace(path)
        return room

    @property
    def _all_there(self) -> int | None:
        return None if self.there is None else int(self.there / (1 - SPARED))

    @property
    def too_large(self) -> list[Footprint]:
        """Stages whose whole steps do not fit."""
        return [stage for stage in self.stages if self.there is not None and stage.total > self.there]

    def require(self) -> None:
        """Raises PlanError where a stage fits neither whole nor, where that is asked for, in parts."""
        for stage in self.too_large:
            there = self.there or 0
            in_parts = self.accumulates and stage.step.longest is not None and count() == 1
            if not (stage.rows_within(there) and in_parts):
                raise PlanError(
                    f"{mebibytes(there)} of memory are free, and it takes {stage}",
                    _remedy(stage, there, self.accumulates),
                )


def _remedy(stage: Footprint, there: int, accumulates: bool) -> str:
    step, rows = stage.step, stage.rows_within(there)
    larger = "choose a smaller model or a larger machine"
    if not rows:
        return ", or ".join([*(step.shorter if there > stage.standing + stage.kept_always else ()), larger])
    images = rows * step.images // stage.rows
    ways = [f"set {step.field} to {images}, from {step.images}"] if images >= FEWEST_IMAGES else []
    ways += [*step.fewer, *step.shorter]
    if step.longest is not None:
        more = accumulates or count() > 1  # several processes do not cut their steps
        ways.append("start more processes" if more else "set tune.too_large to accumulate")
    whole = step.longest is None and accumulates
    told = ", or ".join(ways or [larger])
    return told + whole * "; its steps cannot be cut, since a loss or a norm is over all images"


def footprint(
    step: Step, model: nn.Module, batches: Batches, precision: Precision, fewest: int = 1
) -> Footprint:
    """Of a stage that trains ``model``, which is run forward: give a copy. ``batches`` has ``fewest`` rows
    at least.

    What is kept for the backward pass is measured with ``fewest`` rows and with twice as many. Raises
    PlanError where gradient checkpointing is asked for and the model has none.
    """
    again = layers_to_run_again(model) if step.checkpointing else ()
    tensors = [*model.parameters(), *model.buffers()]
    trained = sum(t.nbytes for t in tensors if t.requires_grad)
    eight_bit = sum(t.nbytes for t in tensors if t.dtype == torch.int8)
    frozen = sum(t.nbytes for t in tensors) - trained - eight_bit
    few, twice = (kept_bytes(model, batches(rows), precision.bf16, again) for rows in (fewest, 2 * fewest))
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
