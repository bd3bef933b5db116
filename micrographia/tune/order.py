"""The order in which training sees images: a pure function of the seed and the position.

The whole training is laid out as one long row of draws, epoch after epoch. A run that was killed goes on from
its position with the same images in the same views as an undisturbed one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.utils.data import Dataset

MOST_ROUNDS = 20
"""Evaluations in one stage of training."""


class Draw(NamedTuple):
    """One image, by its row, at one moment. ``seed`` decides its view and its texts; None: the plain view."""

    image: int
    seed: int | None


class Order(Dataset[Draw]):
    """Every image once an epoch, in an order of its own for each epoch."""

    def __init__(self, images: Sequence[int], epochs: int, seed: int) -> None:
        self.images = images
        self.epochs = epochs
        self.seed = seed
        self._epoch = -1
        self._permutation: list[int] = []

    def __len__(self) -> int:
        return len(self.images) * self.epochs

    def rounds(self, batch: int) -> tuple[int, int]:
        """How many rounds of how many steps: after a round there is an evaluation and a checkpoint.

        A round is an epoch, or longer where there would be more than MOST_ROUNDS.
        """
        steps = max(1, len(self) // batch)
        rounds = max(1, steps // max(len(self.images) // batch, math.ceil(steps / MOST_ROUNDS)))
        return rounds, steps // rounds

    def __getitem__(self, position: int) -> Draw:
        epoch, place = divmod(position, len(self.images))
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(_mixed(self.seed, epoch))
            self._permutation = torch.randperm(len(self.images), generator=generator).tolist()
            self._epoch = epoch
        return Draw(self.images[self._permutation[place]], _mixed(self.seed, position))


class Plain(Dataset[Draw]):
    """Every image once, as it is: for validation."""

    def __init__(self, images: Sequence[int]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> Draw:
        return Draw(self.images[position], None)


def _mixed(seed: int, position: int) -> int:
    """Neighbouring positions get unrelated seeds (splitmix64, Steele 2014, doi:10.1145/2660193.2660195)."""
    mask = 2**64 - 1
    z = (seed * 0xD1342543DE82EF95 + (position + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 1
