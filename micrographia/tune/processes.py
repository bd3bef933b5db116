"""Processes that train one student together, as ``accelerate launch`` starts them; mostly there is one.

Each runs the whole of ``tune``. What goes to disk is written by the first of them, and read by the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, parse_flag_from_env, reduce
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from micrographia.errors import PlanError

Row = TypeVar("Row")

PATIENCE = timedelta(days=1)
"""How long the others wait for the first: it may prepare thousands of images meanwhile."""


def count() -> int:
    """How many there are."""
    return int(_state().num_processes)


def device() -> torch.device:
    """Where this one computes: its GPU, or the processor."""
    return torch.device(_state().device)


def is_first() -> bool:
    """Whether this is the one that writes and speaks."""
    return bool(_state().is_main_process)


def wait() -> None:
    """Go on when all have come here."""
    _state().wait_for_everyone()


@contextmanager
def first_alone() -> Iterator[None]:
    """The first goes through the block, then the others: they find on disk what it has made."""
    with _state().main_process_first():
        yield


def are_sharding() -> bool:
    """Whether each holds only a part of the weights (FSDP)."""
    return parse_flag_from_env("ACCELERATE_USE_FSDP")


def require_shares(batch: int, field: str) -> None:
    """Raises PlanError where a step's images, ``field`` of the recipe, are not as many for each process."""
    if batch % count():
        raise PlanError(
            f"{field} is {batch} images a step, which {count()} processes cannot share evenly",
            f"make it a multiple of {count()}, or start as many processes as divide it",
        )


def require_one(reason: str) -> None:
    """Raises PlanError where there are several processes, and the ``reason`` why there may not be."""
    if count() > 1:
        raise PlanError(
            f"{reason}, and each of {count()} processes would see its share of them alone",
            "tune it by one process: micrographia tune",
        )


def my_share(batch: Sequence[Row]) -> Sequence[Row]:
    """What this process takes of a batch: the shares are equal, in order, and all of it. Raises PlanError."""
    require_shares(len(batch), "a batch")
    each, number = len(batch) // count(), int(_state().process_index)
    return batch[each * number : each * (number + 1)]


def mean_of_all(number: float) -> float:
    """The mean of the numbers of all processes; all have to ask."""
    return float(reduce(torch.tensor(float(number), device=device()), "mean"))


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which each process may hold a part; all have to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def placed_like(tensor: Tensor, other: Tensor) -> Tensor:
    """A tensor that all hold, in parts where ``other`` is."""
    if not isinstance(other, DTensor):
        return tensor
    tensor = tensor.to(other.device)
    return distribute_tensor(tensor, other.device_mesh, other.placements, src_data_rank=None)


def shard(accelerator: Accelerator, model: PreTrainedModel) -> None:
    """Have FSDP cut up weights as they are, on processors too, where accelerate would leave them whole.

    Weights stay in their types (8-bit ones too) and autocast makes bfloat16 of them, as with one process.
    None are sent about: every process has made or read the same. The layers that ``model`` has are gathered
    one by one; the eye of a CLIP names its text's too, which accelerate would look for in vain.
    """
    state = accelerator.state
    if state.distributed_type == DistributedType.MULTI_CPU:
        state.distributed_type, state.fsdp_plugin = DistributedType.FSDP, FullyShardedDataParallelPlugin()
    state.fsdp_plugin.mixed_precision_policy = None
    state.fsdp_plugin.cpu_ram_efficient_loading = False
    there = {type(module).__name__ for module in model.modules()}
    state.fsdp_plugin.transformer_cls_names_to_wrap = sorted(
        there.intersection(model._no_split_modules or ())
    )


def stand_alone(accelerator: Accelerator) -> None:
    """Have each process keep and train the whole of a model by itself."""
    accelerator.state.distributed_type = DistributedType.NO


def _state() -> PartialState:
    return PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
