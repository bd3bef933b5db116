"""The product of a frozen and a trained thin matrix, added to a layer's output, that keeps nothing as large
as its input: what LoRA-FA (Zhang 2023, arXiv:2308.03303) is for, with dropout.

    h = dropout(x) A^T      (..., b)   kept for the backward pass, with x's dropout as one number, its seed
    y + scaling h B^T       (..., out)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from micrographia.adapt.int8 import product_type

STEPS = 1 << 16
"""Dropout is drawn in 16-bit steps, four from each draw of 64 bits: p is met to 1/131072."""


def add_low_rank(
    y: Tensor,
    x: Tensor,
    down: Tensor,
    up: Tensor,
    scaling: float,
    dropout: float = 0.0,
    gradient_scale: float = 1.0,
) -> Tensor:
    """``y`` (..., out) + scaling · dropout(``x``) (..., in) · ``down``ᵀ (b, in) · ``up`` (b, out).

    ``down`` gets no gradient. That of ``up`` is multiplied by ``gradient_scale``. ``x`` is dropped as
    ``torch.nn.Dropout`` drops it: each value with probability ``dropout``, the rest divided by 1 - that.
    """
    seed = torch.empty((), dtype=torch.int64)
    if dropout:
        seed.random_()  # of the default generator, whose state checkpoints keep
    return _add(y, x, down.to(x.dtype), up.to(x.dtype), seed, scaling, dropout, gradient_scale)[0]


@torch.library.custom_op("micrographia::add_low_rank", mutates_args=())
def _add(
    y: Tensor,
    x: Tensor,
    down: Tensor,
    up: Tensor,
    seed: Tensor,
    scaling: float,
    dropout: float,
    gradient_scale: float,
) -> tuple[Tensor, Tensor]:
    dtype = product_type(x)
    h = (_dropped(x, seed, dropout).to(dtype) @ down.to(dtype).T).to(x.dtype)
    rows, columns = h.reshape(-1, h.shape[-1]), y.reshape(-1, y.shape[-1])
    if dtype == y.dtype:
        return torch.addmm(columns, rows, up, alpha=scaling).view(y.shape), h
    added = (rows.to(dtype) @ up.to(dtype)).mul_(scaling)
    return added.add_(columns).to(y.dtype).view(y.shape), h


@_add.register_fake
def _shapes(y: Tensor, x: Tensor, down: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(y), x.new_empty((*x.shape[:-1], down.shape[0]))


@torch.library.custom_op("micrographia::add_low_rank_backward", mutates_args=())
def _input_gradient(
    gradient: Tensor, down: Tensor, up: Tensor, seed: Tensor, scaling: float, dropout: float
) -> Tensor:
    """``gradient`` (..., out) of the sum to that of x (..., in), dropped where x was."""
    dtype = product_type(gradient)
    thin = (gradient.to(dtype) @ up.to(dtype).T).mul_(scaling)
    return _dropped((thin @ down.to(dtype)).to(gradient.dtype), seed, dropout)


@_input_gradient.register_fake
def _input_shape(gradient: Tensor, down: Tensor, *_: Any) -> Tensor:
    return gradient.new_empty((*gradient.shape[:-1], down.shape[1]))


def _dropped(x: Tensor, seed: Tensor, dropout: float) -> Tensor:
    """``x`` after dropout; the same seed drops the same places of the same shape. No mask is kept."""
    if not dropout:
        return x
    generator = torch.Generator(x.device).manual_seed(int(seed))
    drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    lots = drawn.random_(-(2**63), None, generator=generator).view(torch.int16)[: x.numel()]
    kept = lots >= round(dropout * STEPS) - STEPS // 2
    return (x * kept.view(x.shape)).mul_(1 / (1 - dropout))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, _, down, up, seed, ctx.scaling, ctx.dropout, ctx.gradient_scale = inputs
    ctx.save_for_backward(down, up, seed, output[1])
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    down, up, seed, h = ctx.saved_tensors
    needs_x, needs_up = ctx.needs_input_grad[1], ctx.needs_input_grad[3]
    of_x = _input_gradient(gradient, down, up, seed, ctx.scaling, ctx.dropout) if needs_x else None
    of_up = _thin_gradient(h, gradient, ctx.scaling * ctx.gradient_scale) if needs_up else None
    return gradient, of_x, None, of_up, None, None, None, None


def _thin_gradient(h: Tensor, gradient: Tensor, scaling: float) -> Tensor:
    dtype = product_type(gradient)
    rows = h.reshape(-1, h.shape[-1]).to(dtype)
    return (rows.T @ gradient.reshape(-1, gradient.shape[-1]).to(dtype)).mul_(scaling).to(gradient.dtype)


_add.register_autograd(_backward, setup_context=_keep)
