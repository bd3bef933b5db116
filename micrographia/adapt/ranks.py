"""Which rank each step trains: drawn from a stated distribution, alike everywhere and after a kill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import TrainerCallback

from micrographia.errors import PlanError


@dataclass(frozen=True)
class RankDraw:
    """A categorical distribution over the ranks from ``lowest`` to ``highest``.

    Rank b has probability weights[b - lowest] / sum(weights); without ``weights`` all are alike. Raises
    PlanError where the range or the weights make no distribution.
    """

    lowest: int
    highest: int
    weights: tuple[float, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.lowest <= self.highest:
            raise PlanError(
                f"ranks from {self.lowest} to {self.highest}", "the lowest is 1 or more, the highest no less"
            )
        if self.weights is None:
            return
        wanted = self.highest - self.lowest + 1
        if len(self.weights) != wanted or min(self.weights) < 0 or not sum(self.weights) > 0:
            raise PlanError(
                f"rank_weights are {list(self.weights)}",
                f"give {wanted}, one for each rank from {self.lowest} to {self.highest}, none negative",
            )

    @property
    def ranks(self) -> tuple[int, ...]:
        """Those that can be drawn, in order."""
        weights = self.weights or (1.0,) * (self.highest - self.lowest + 1)
        return tuple(rank for rank, weight in enumerate(weights, self.lowest) if weight > 0)

    def at(self, step: int) -> int:
        """The rank of an optimizer step. It hangs on seed and step alone: no state is kept or shared."""
        if self.weights is None:
            chances = None
        else:
            chances = np.array([w for w in self.weights if w > 0]) / sum(self.weights)
        return int(np.random.default_rng((self.seed, step)).choice(self.ranks, p=chances))


class DrawRanks(TrainerCallback):
    """Sets the model's rank before each optimizer step, for all of its micro-batches; evaluation sees all."""

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Draw the rank of the step to come."""
        model.draw_rank(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Back to the highest rank."""
        model.set_rank(None)
