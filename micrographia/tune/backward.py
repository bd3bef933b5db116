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
    one of them does is counted, and no more is held here.
    """
    kept = _Kept(model, _casts(again) if bf16 else 0)
    device = next(model.parameters()).device
    batch = {name: value.to(device) for name, value in batch.items()}
    with ExitStack() as stack:
        for layer in again:
            stack.enter_context(layer.register_forward_pre_hook(kept.enter))
            stack.enter_context(layer.register_forward_hook(kept.leave, with_kwargs=True))
        stack.enter_context(torch.random.fork_rng())
        stack.enter_context(torch.autocast(device.type, torch.bfloat16, enabled=bf16))
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(kept.note, lambda nothing: nothing))
        model.train()(**batch)
    return kept.nbytes


def _casts(layers: Sequence[nn.Module]) -> int:
    """Bytes of the copies that autocast makes of weights that learn, and has until the loss is there."""
    weights = (weight for layer in layers for weight in layer.parameters() if weight.requires_grad)
    return sum(2 * weight.numel() for weight in weights if weight.dtype == torch.float32 and weight.ndim > 1)


class _Kept:
    """What is saved for a backward pass that nobody will run: held, so that no storage's number is given
    again, and inside a layer that will run again no longer than it runs."""

    def __init__(self, model: nn.Module, passing: int) -> None:
        """``passing``: bytes that are there for a while, like what a layer saves."""
        self._own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
        self._always: Storages = {}
        self._passing = passing
        self._now = self._always

    def note(self, tensor: Tensor) -> None:
        """Is saved."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._own:
            self._now[storage._cdata] = storage

    def enter(self, *_: Any) -> None:
        """A layer that will run again begins."""
        self._now = {}

    def leave(self, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        """It has run; what it gives, the next one is given. One in which nothing is saved will not run
        again."""
        saved, self._now = self._now, self._always
        if not saved:
            return
        for tensor in tree_leaves((args, kwargs, output)):
            if isinstance(tensor, Tensor):
                self.note(tensor)
        inside = sum(storage.nbytes() for key, storage in saved.items() if key not in self._always)
        self._passing = max(self._passing, inside)

    @property
    def nbytes(self) -> int:
        """The most that there is at a time."""
        return sum(storage.nbytes() for storage in self._always.values()) + self._passing
