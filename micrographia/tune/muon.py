"""Muon for the matrices of a student and AdamW for the rest: fewer steps than AdamW alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from micrographia.tune.processes import placed_like, whole

Optimizer = Literal["muon", "adamw"]
"""muon: for what learns from nothing; adamw: all at one rate, for a few changes to what has learned."""

SMALLEST_SIDE = 16
"""A matrix with a shorter side has too few directions to balance: grey levels in, a few labels out."""


class Muon(torch.optim.Optimizer):
    """Momentum whose update of each matrix is made nearly orthogonal, so that no direction is neglected.

    Jordan 2024 (https://kellerjordan.github.io/posts/muon), scaled up in Liu 2025 (arXiv:2502.16982). It
    takes the weights of linear and convolutional layers with both sides at least ``SMALLEST_SIDE``; every
    other parameter (norms, biases, positions, embeddings, small heads) gets AdamW (Loshchilov 2019,
    arXiv:1711.05101). Both rates follow one scheduler. torch.optim.Muon takes no convolutions and computes
    in bfloat16, which a processor without it does many times slower.
    """

    def __init__(
        self,
        model: nn.Module,
        learning_rate: float = 2e-3,
        matrix_learning_rate: float = 0.02,
        weight_decay: float = 0.05,
    ) -> None:
        matrix_ids = _matrix_ids(model)
        parameters = [p for p in model.parameters() if p.requires_grad]
        matrices = [p for p in parameters if id(p) in matrix_ids]
        others = [p for p in parameters if id(p) not in matrix_ids]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "lr": matrix_learning_rate, "weight_decay": weight_decay, "muon": True},
            {"params": [p for p in others if p.ndim > 1], "weight_decay": weight_decay, "muon": False},
            {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0, "muon": False},
        ]
        super().__init__([g for g in groups if g["params"]], {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._muon if group["muon"] else self._adam
            for parameter in group["params"]:
                if parameter.grad is not None:
                    change = update(parameter.grad, self.state[parameter])
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(change, alpha=-group["lr"])
        return loss

    @staticmethod
    def _muon(gradient: Tensor, state: dict[str, Any], momentum: float = 0.95) -> Tensor:
        if not state:
            state["mean"] = torch.zeros_like(gradient)
        mean = state["mean"].lerp_(gradient, 1 - momentum)
        ahead = whole(gradient.lerp(mean, momentum))  # Nesterov; what is orthogonal is no part of a matrix
        rows, columns = ahead.flatten(1).shape
        change = max(1, rows / columns) ** 0.5 * orthogonal(ahead.flatten(1))
        return placed_like(change.view_as(ahead), gradient)

    @staticmethod
    def _adam(
        gradient: Tensor, state: dict[str, Any], betas: tuple[float, float] = (0.9, 0.99), tiny: float = 1e-8
    ) -> Tensor:
        if not state:
            state |= {"mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient), "steps": 0}
        state["steps"] += 1
        mean = state["mean"].lerp_(gradient, 1 - betas[0])
        square = state["square"].lerp_(gradient.square(), 1 - betas[1])
        first, second = (1 - beta ** state["steps"] for beta in betas)
        return (mean / first) / ((square / second).sqrt() + tiny)


def moment_bytes(model: nn.Module, optimizer: Optimizer = "muon") -> int:
    """What an optimizer remembers of all that is trained: AdamW two moments, Muon one of a matrix."""
    matrices = _matrix_ids(model) if optimizer == "muon" else set()
    return sum((1 if id(p) in matrices else 2) * p.nbytes for p in model.parameters() if p.requires_grad)


def orthogonal(matrix: Tensor, iterations: int = 5) -> Tensor:
    """``matrix`` with its singular values brought to 0.7-1.2, its singular vectors kept.

    The quintic Newton-Schulz iteration with Jordan's coefficients (see ``Muon``).
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (wide.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x if wide is matrix else x.T


def _matrix_ids(model: nn.Module) -> set[int]:
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}  # may be tied to a head
    large = {id(m.weight) for m in layers if min(m.weight.flatten(1).shape) >= SMALLEST_SIDE}
    return large - tables
