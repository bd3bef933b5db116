"""The loss of a language model whose head is frozen, without its logits.

A vocabulary is wide: of a small model the logits and their softmax are more than half of what a step keeps.
With a frozen head all that the backward pass needs of them is the gradient of the hidden states, as wide as
these, and that can be worked out at once, some places at a time (Hsu 2024, arXiv:2410.10989, has the same for
a trained one). Places that are not learned cost nothing.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.loss.loss_utils import ForCausalLMLoss

from micrographia.adapt.int8 import product_type
from micrographia.students.losses import IGNORED

PLACES_AT_ONCE = 512


def without_logits(model: PreTrainedModel) -> bool:
    """Make ``model`` train without logits; whether it could be done.

    It is left as it was where its head has a bias, or its logits are changed after the head. In training
    ``model(...).logits`` are hidden states from now on; without gradients, or while the head itself is
    trained, all is as before.
    """
    head, config = model.get_output_embeddings(), model.config.get_text_config()
    changed = any(getattr(config, name, None) for name in ("final_logit_softcapping", "logit_scale"))
    if not isinstance(head, nn.Linear) or head.bias is not None or changed:
        return False
    kind: Any = type(head)
    head.__class__ = _deferring(kind)
    model.loss_function = LeanLoss(head)
    return True


class Deferring(nn.Module):
    """A head that leaves its product to the loss while something is learned."""

    def forward(self, hidden: Tensor) -> Tensor:
        """``hidden`` (B, L, d) itself in training, otherwise logits (B, L, vocabulary)."""
        return hidden if defers(self) else super().forward(hidden)


def defers(head: nn.Module) -> bool:
    """Whether the head gives hidden states now."""
    return head.training and torch.is_grad_enabled() and not head.weight.requires_grad


@cache
def _deferring(head: Any) -> Any:
    return type(head.__name__, (Deferring, head), {"__module__": head.__module__})


class LeanLoss:
    """Takes the place of ``transformers``' loss of a causal language model, and its arguments."""

    def __init__(self, head: nn.Module) -> None:
        self.head = head

    def __call__(
        self,
        logits: Tensor,
        labels: Tensor,
        vocab_size: int,
        num_items_in_batch: Tensor | int | None = None,
        ignore_index: int = IGNORED,
        shift_labels: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """The mean over the places that are learned, or their sum over ``num_items_in_batch``."""
        if not defers(self.head):
            how = {"num_items_in_batch": num_items_in_batch, "shift_labels": shift_labels, **kwargs}
            loss: Tensor = ForCausalLMLoss(logits, labels, vocab_size, ignore_index=ignore_index, **how)
            return loss
        wanted = F.pad(labels, (0, 1), value=ignore_index)[..., 1:] if shift_labels is None else shift_labels
        hidden, wanted = logits.flatten(0, -2), wanted.flatten()
        learned = wanted != ignore_index
        total = _SummedLoss.apply(hidden[learned], self.head.weight, wanted[learned])
        return total / (learned.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch)


class _SummedLoss(torch.autograd.Function):
    """Cross-entropy of ``hidden`` (n, d) through a frozen ``weight`` (vocabulary, d), summed."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, wanted: Tensor) -> Tensor:
        dtype = product_type(hidden)
        table = weight.to(dtype)
        gradient, total = torch.empty_like(hidden), hidden.new_zeros((), dtype=torch.float32)
        for start in range(0, len(hidden), PLACES_AT_ONCE):
            part = slice(start, start + PLACES_AT_ONCE)
            logits = F.linear(hidden[part].to(dtype), table).float()
            normaliser = logits.logsumexp(1, keepdim=True)
            total += (normaliser - logits.gather(1, wanted[part, None])).sum()
            chances = logits.sub_(normaliser).exp_()
            chances.scatter_add_(1, wanted[part, None], chances.new_full((len(chances), 1), -1.0))
            gradient[part] = (chances.to(dtype) @ table).to(hidden.dtype)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * gradients[0]).to(gradient.dtype), None, None
