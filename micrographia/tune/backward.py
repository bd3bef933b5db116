"""What autograd keeps of a forward pass until the backward pass, in exact bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from transformers.modeling_layers import GradientCheckpointingLayer

from micrographia.errors import PlanError

Storages = dict[int, torch.UntypedStorage]


def layers_to_run_again(model: nn.Module) -> list[nn.Module]:
    """Where gradient checkpointing begins anew. Raises PlanError where there are no such layers."""
    layers: list[nn.Module] = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not layers:
        raise PlanError(
            f"tune.gradient_checkpointing is true, and {type(model).__name__} has no layers to run again",
            "leave it out",
        )
    return layers


def kept_bytes(
    model: nn.Module, batch: Mapping[str, Any], bf16: bool = False, again: Sequence[nn.Module] = ()
) -> int:
    """Bytes that autograd keeps of one forward pass in training, every storage once, those of the model left
    out; ``bf16``: as the Trainer casts. What is drawn at random is drawn again afterwards.

    ``again``: layers that will keep what they are given alone, and run once more when their turn comes in
    the backward pass (gradient checkpointing, Chen 2016, arXiv:1604.06174): of what they save, the most that
    one of them does is counted.
    """
    kept = _Kept(model)
    device = next(model.parameters()).device
    batch = {name: value.to(device) for name, value in batch.items()}
    with ExitStack() as stack:
        for layer in again:
            stack.enter_context(layer.register_forward_pre_hook(kept.enter))
            stack.enter_context(layer.register_forward_hook(kept.leave, with_kwargs=True))
        stack.enter_context(torch.random.fork_rng())
        stack.enter_context(torch.autocast(device.type, torch.bfloat16, enabled=bf16))
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(kept.note, lambda tensor: tensor))
        loss = model.train()(**batch).loss
    del loss
    return kept.nbytes


class _Kept:
    """What autograd saves, by the layer that runs; held, so that no storage's number is given again."""

    def __init__(self, model: nn.Module) -> None:
        self._own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
        self._always: Storages = {}
        self._of_layers: list[Storages] = []
        self._now = self._always

    def note(self, tensor: Tensor) -> Tensor:
        """Is saved."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._own:
            self._now[storage._cdata] = storage
        return tensor

    def enter(self, *_: Any) -> None:
        """A layer that will run again begins."""
        self._now = {}

    def leave(self, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], _: Any) -> None:
        """It has run. One in which nothing is saved will not run again."""
        saved, self._now = self._now, self._always
        if saved:
            self._of_layers.append(saved)
            for given in tree_leaves((args, kwargs)):
                if isinstance(given, Tensor):
                    self.note(given)

    @property
    def nbytes(self) -> int:
        """The most that there is at a time."""
        passing = [
            sum(storage.nbytes() for key, storage in saved.items() if key not in self._always)
            for saved in self._of_layers
        ]
        return sum(storage.nbytes() for storage in self._always.values()) + max(passing, default=0)
