"""8-bit weight-only linear layers: int8 weights with their scales, whose backward pass keeps nothing else.

A weight w of output channel o is stored as the whole number q = round(w / s_o), s_o = max |w_o| / 127
(symmetric, per output channel; with ``group_size`` each run of so many inputs has a scale of its own).
Activations stay as they are. Weights are made floating point again for each product, forward and backward,
and forgotten: autograd keeps q and s, which are there anyway, and nothing of the input's size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from micrographia.errors import PlanError

LARGEST = 127
"""Of the whole numbers; -128 is not used, so that they are symmetric."""


class Int8Linear(nn.Module):
    """A frozen linear layer with ``weight`` int8 (out, in), ``scale`` float32 (out, groups) and ``bias``.

    Takes inputs (..., in) of any floating type and gives outputs (..., out) of the same; under autocast of
    its type. ``scale`` stays float32 whatever the module is cast to. ``dtype`` is that of the weights before.
    """

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        # A parameter, though it is never trained: FSDP shards parameters and leaves buffers whole.
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.dtype = dtype

    @classmethod
    def from_linear(cls, linear: nn.Linear, group_size: int | None = None) -> Int8Linear:
        """The 8-bit form of ``linear``. Raises PlanError where groups do not fit or a weight is no number."""
        weight, scale = quantize(linear.weight.detach(), group_size)
        bias = None if linear.bias is None else linear.bias.detach()
        return cls(weight, scale, bias, linear.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., in) times the weights, plus the bias: (..., out)."""
        x = in_autocast_type(x)
        y: Tensor = int8_linear(x, self.weight, self.scale)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def to_linear(self) -> nn.Linear:
        """An ordinary layer with the dequantised weights, in the type they had."""
        linear = nn.Linear(self.in_features, self.out_features, self.bias is not None, device="meta")
        linear.weight = nn.Parameter(dequantize(self.weight, self.scale, self.dtype), requires_grad=False)
        if self.bias is not None:
            linear.bias = self.bias
        return linear

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Int8Linear:
        """Moves with the module, but ``model.to(torch.bfloat16)`` leaves the scale its digits."""
        exact = self.scale.data
        super()._apply(fn, recurse)
        if self.scale.dtype != exact.dtype:
            self.scale.data = exact.to(self.scale.device)
        return self

    def extra_repr(self) -> str:
        """As ``nn.Linear`` prints itself, with the size of the groups."""
        group = self.in_features // self.scale.shape[1]
        return f"in_features={self.in_features}, out_features={self.out_features}, group_size={group}"


def quantize(weight: Tensor, group_size: int | None = None) -> tuple[Tensor, Tensor]:
    """``weight`` (out, in) as int8 and its scales, float32 (out, in / group_size).

    Every weight is met to half a step, |w - q s| <= s / 2. Raises PlanError.
    """
    size = weight.shape[1] if group_size is None else group_size
    if size < 1 or weight.shape[1] % size:
        raise PlanError(
            f"group_size is {group_size}, and {weight.shape[1]} inputs do not divide into such groups",
            "choose a divisor of the widths of all layers, such as 64 or 128, or none",
        )
    groups = weight.float().unflatten(1, (-1, size))
    largest = groups.abs().amax(2)
    if not bool(largest.isfinite().all()):
        raise PlanError("a weight is not a finite number", "the model's file is damaged: get it again")
    scale = (largest / LARGEST).clamp_min(torch.finfo(torch.float32).tiny)
    whole = (groups / scale[..., None]).round_().clamp_(-LARGEST, LARGEST)
    return whole.flatten(1).to(torch.int8), scale


def dequantize(weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """int8 ``weight`` (out, in) and ``scale`` (out, groups) as floating point."""
    groups = weight.to(dtype).unflatten(1, (scale.shape[1], -1))
    return groups.mul_(scale[..., None]).flatten(1)


def in_autocast_type(x: Tensor) -> Tensor:
    """``x`` in the type that autocast prescribes where it is on, as the layers of ``torch`` take it."""
    if not torch.is_autocast_enabled(x.device.type):
        return x
    return x.to(torch.get_autocast_dtype(x.device.type))


def product_type(x: Tensor) -> torch.dtype:
    """The type to multiply in: that of ``x``, but float32 on a processor without bfloat16 units.

    There ``torch`` multiplies bfloat16 in plain loops, ten to a hundred times slower than float32.
    """
    slow = x.device.type == "cpu" and x.dtype == torch.bfloat16 and not _has_bfloat16_units()
    return torch.float32 if slow else x.dtype


@cache
def _has_bfloat16_units() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@torch.library.custom_op("micrographia::int8_linear", mutates_args=())
def int8_linear(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """``x`` (..., in) times dequantised ``weight`` (out, in): (..., out). Opaque to compilers, so that none
    of them keeps the dequantised weights for the backward pass."""
    dtype = product_type(x)
    if scale.shape[1] > 1:
        return F.linear(x.to(dtype), dequantize(weight, scale, dtype)).to(x.dtype)
    # Whole numbers up to 127 are exact in every floating type; their common scale comes last.
    return F.linear(x.to(dtype), weight.to(dtype)).mul_(scale[:, 0]).to(x.dtype)


@int8_linear.register_fake
def _shape(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


@torch.library.custom_op("micrographia::int8_linear_backward", mutates_args=())
def _int8_linear_backward(gradient: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """``gradient`` (..., out) of the output to that of the input (..., in)."""
    dtype = product_type(gradient)
    if scale.shape[1] > 1:
        return (gradient.to(dtype) @ dequantize(weight, scale, dtype)).to(gradient.dtype)
    return ((gradient * scale[:, 0]).to(dtype) @ weight.to(dtype)).to(gradient.dtype)


@_int8_linear_backward.register_fake
def _shape_backward(gradient: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    return gradient.new_empty((*gradient.shape[:-1], weight.shape[1]))


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    _, weight, scale = inputs
    ctx.save_for_backward(weight, scale)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    weight, scale = ctx.saved_tensors
    return _int8_linear_backward(gradient, weight, scale), None, None


int8_linear.register_autograd(_backward, setup_context=_keep)
