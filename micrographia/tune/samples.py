"""Batches of a language model with sight: rows of no, one or several images, and loss on the answers only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from micrographia.recipe import TuneSection
from micrographia.students.losses import IGNORED
from micrographia.students.prompts import MAEMIProcessor
from micrographia.tune.collate import Text, Texts, choose, longest_drawn
from micrographia.tune.features import Sight
from micrographia.tune.order import Draw

Row = TypeVar("Row")

Seen = tuple[int, int]
"""An image, by its row, in one of VIEWS."""

SHOWN = 0.5
"""How often demonstrations stand before a question for the category."""


@dataclass(frozen=True)
class Sample:
    """One row of a batch: what is read first, then texts that each follow on it and do not see each other."""

    images: tuple[Seen, ...]
    """In the order of their places."""
    opening: list[int]
    texts: list[tuple[list[int], list[int]]]
    """Question and answer, which alone is learned."""

    @property
    def length(self) -> int:
        """Tokens of the row."""
        return len(self.opening) + sum(len(question) + len(answer) for question, answer in self.texts)


def batch_of(samples: Sequence[Sample], sight: Sight) -> dict[str, Any]:
    """What ``forward`` of MAEMI and of LLaVA takes.

    Where some row has several texts, ``attention_mask`` is (B, 1, L, L) and ``position_ids`` go on from the
    opening for each text, so that the loss is that of as many rows with the same opening.
    """
    seen = [image for sample in samples for image in sample.images]
    batch: dict[str, Any] = {
        "input_ids": _padded([_ids(sample) for sample in samples], 0),
        "labels": _padded([_labels(sample) for sample in samples], IGNORED),
    }
    if all(len(sample.texts) == 1 for sample in samples):
        batch["attention_mask"] = _padded([[1] * sample.length for sample in samples], 0)
    else:
        numbers = _padded([_numbers(sample) for sample in samples], -1)
        batch["attention_mask"] = may_attend(numbers)
        batch["position_ids"] = _padded([_positions(sample) for sample in samples], 0)
    if seen:
        shown = sight([row for row, _ in seen], [view for _, view in seen])
        batch |= {name: shown[name] for name in ("image_tokens", "pixel_values") if name in shown}
    return batch


def in_parts(
    rows: Sequence[Row],
    length: Callable[[Row], int],
    room: int,
    batch: Callable[[Sequence[Row]], Mapping[str, Any]],
) -> dict[str, Any]:
    """``rows`` cut into ``parts`` of at most ``room`` tokens, padding among them, rows of like ``length``
    together; a longer row is a part by itself. ``input_ids`` and ``labels`` (1, n) are those of all parts.

    ``fit`` takes the parts one after the other.
    """
    cut: list[list[Row]] = [[]]
    for row in sorted(rows, key=length):
        if cut[-1] and (len(cut[-1]) + 1) * length(row) > room:
            cut.append([])
        cut[-1].append(row)
    parts = [batch(some) for some in cut]
    whole = {name: torch.cat([p[name].flatten() for p in parts])[None] for name in ("input_ids", "labels")}
    return {**whole, "parts": parts}


def may_attend(numbers: Tensor) -> Tensor:
    """(B, 1, L, L) whether a token attends to another; ``numbers`` (B, L): 0 for the opening, from 1 on for
    the texts, -1 for padding, which attends to itself: a softmax over nothing is no number."""
    own, other = numbers[:, :, None], numbers[:, None, :]
    before = torch.ones(2 * numbers.shape[1:], dtype=torch.bool).tril()
    itself = torch.eye(numbers.shape[1], dtype=torch.bool)
    return ((((other == 0) | (own == other)) & (own >= 0) & before) | itself)[:, None]


@dataclass(frozen=True)
class Demonstrations:
    """What is shown before a question for the category: of each image the rows of those most like it, in the
    order in which they stand, and each row's turn of question and label."""

    rows: Mapping[int, Sequence[int]]
    turns: Mapping[int, list[int]]
    """Token ids from the image's place to the end of the answer."""

    def before(self, row: int, count: int) -> tuple[tuple[Seen, ...], list[int]]:
        """The ``count`` images most like it, as they are, and the ids of their turns."""
        shown = self.rows[row][-count:]
        return tuple((other, 0) for other in shown), [i for other in shown for i in self.turns[other]]


NO_DEMONSTRATIONS = Demonstrations({}, {})


class SightedBatches:
    """Draws to batches: each image brings texts, each with the image before it, some with demonstrations.

    With ``together`` the texts of an image share a row, as many as it holds. No row has more than ``longest``
    tokens if each text alone has not: of its demonstrations the least like are left out. With ``room`` a step
    is cut ``in_parts`` of so many tokens.
    """

    def __init__(
        self,
        sight: Sight,
        texts: Sequence[Texts],
        recipe: TuneSection,
        processor: MAEMIProcessor,
        together: bool,
        demonstrations: Demonstrations = NO_DEMONSTRATIONS,
        longest: int | None = None,
        room: int | None = None,
    ) -> None:
        self.sight = sight
        self.texts = texts
        self.recipe = recipe
        self.begin = len(processor.opening)
        self.opening = self.begin + len(processor.place)
        """So many ids at the beginning of a question are the same for all questions about an image."""
        self.together = together
        self.demonstrations = demonstrations
        self.longest = longest
        self.room = room

    def __call__(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """What ``forward`` takes."""
        samples = [sample for draw in draws for sample in self.samples(draw)]
        if self.room is None:
            return batch_of(samples, self.sight)
        return in_parts(
            samples, lambda sample: sample.length, self.room, lambda some: batch_of(some, self.sight)
        )

    def samples(self, draw: Draw) -> list[Sample]:
        """The rows of one image."""
        view = 0 if draw.seed is None else draw.seed % self.recipe.views
        chosen = choose(self.texts[draw.image], draw, self.recipe.texts_per_image, view)
        return self._rows((draw.image, view), chosen, shows=shows(draw))

    def largest(self, image: int) -> list[list[Sample]]:
        """The rows of an image where its longest texts are drawn, and it is shown others: for each of the
        turns that its kinds of text may have."""
        count = self.recipe.texts_per_image
        drawn = longest_drawn(self.texts[image], count, lambda text: text.length)
        return [self._rows((image, 0), texts, shows=True) for texts in drawn]

    def _rows(self, seen: Seen, chosen: Sequence[Text[list[int]]], shows: bool) -> list[Sample]:
        told = [text for text in chosen if text.answer(seen[1])]
        plain = [self._sample(seen, text) for text in told]
        category = [sample for sample, text in zip(plain, told, strict=True) if text.task == "category"][:1]
        shown = [row for sample in category for row in self._shown(sample)] if shows else []
        return [*(self._joined(plain) if self.together else plain), *shown]

    def _sample(self, seen: Seen, text: Text[list[int]]) -> Sample:
        opening, question = text.question[: self.opening], text.question[self.opening :]
        return Sample((seen,), opening, [(question, text.answer(seen[1]) or [])])

    def _joined(self, samples: Sequence[Sample]) -> list[Sample]:
        rows: list[Sample] = []
        for sample in samples:
            if rows and self._fits(joined := replace(rows[-1], texts=rows[-1].texts + sample.texts)):
                rows[-1] = joined
            else:
                rows.append(sample)
        return rows

    def _shown(self, sample: Sample) -> list[Sample]:
        """With as many demonstrations as it can have; none where there are none, or none fits."""
        row = sample.images[0][0]
        for count in range(len(self.demonstrations.rows.get(row, ())), 0, -1):
            images, ids = self.demonstrations.before(row, count)
            opening = sample.opening[: self.begin] + ids + sample.opening[self.begin :]
            shown = replace(sample, images=(*images, *sample.images), opening=opening)
            if self._fits(shown):
                return [shown]
        return []

    def _fits(self, sample: Sample) -> bool:
        return self.longest is None or sample.length <= self.longest


def shows(draw: Draw) -> bool:
    """Whether this draw is shown demonstrations; in validation every other image is."""
    if draw.seed is None:
        return draw.image % 2 == 0
    return bool(np.random.default_rng((draw.seed, 1)).random() < SHOWN)


def _ids(sample: Sample) -> list[int]:
    return sample.opening + [i for question, answer in sample.texts for i in question + answer]


def _labels(sample: Sample) -> list[int]:
    told = [i for question, answer in sample.texts for i in [IGNORED] * len(question) + answer]
    return [IGNORED] * len(sample.opening) + told


def _numbers(sample: Sample) -> list[int]:
    each = [[n] * (len(q) + len(a)) for n, (q, a) in enumerate(sample.texts, 1)]
    return [0] * len(sample.opening) + [n for numbers in each for n in numbers]


def _positions(sample: Sample) -> list[int]:
    start = len(sample.opening)
    return [*range(start), *(p for q, a in sample.texts for p in range(start, start + len(q) + len(a)))]


def _padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)
