"""Batches of a language model with sight: rows of no, one or several images, and loss on the answers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from micrographia.recipe import TuneSection
from micrographia.students.losses import IGNORED
from micrographia.students.prompts import MAEMIProcessor
from micrographia.tune.collate import Text, Texts, choose
from micrographia.tune.features import Sight
from micrographia.tune.order import Draw

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

    def before(self, row: int) -> tuple[tuple[Seen, ...], list[int]]:
        """Images, as they are, and the ids of their turns."""
        shown = self.rows.get(row, ())
        return tuple((other, 0) for other in shown), [i for other in shown for i in self.turns[other]]


NO_DEMONSTRATIONS = Demonstrations({}, {})


class SightedBatches:
    """Draws to batches: each image brings texts, each with the image before it, some with demonstrations.

    With ``together`` the texts of an image share one row.
    """

    def __init__(
        self,
        sight: Sight,
        texts: Sequence[Texts],
        recipe: TuneSection,
        processor: MAEMIProcessor,
        together: bool,
        demonstrations: Demonstrations = NO_DEMONSTRATIONS,
    ) -> None:
        self.sight = sight
        self.texts = texts
        self.recipe = recipe
        self.begin = len(processor.opening)
        self.opening = self.begin + len(processor.place)
        """So many ids at the beginning of a question are the same for all questions about an image."""
        self.together = together
        self.demonstrations = demonstrations

    def __call__(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """What ``forward`` takes."""
        return batch_of([sample for draw in draws for sample in self.samples(draw)], self.sight)

    def samples(self, draw: Draw) -> list[Sample]:
        """The rows of one image."""
        view = 0 if draw.seed is None else draw.seed % self.recipe.views
        chosen = choose(self.texts[draw.image], draw, self.recipe.texts_per_image)
        plain = [self._sample(draw.image, view, text) for text in chosen if text.answer(view)]
        made = self._joined(plain) if self.together and plain else plain
        category = next((text for text in chosen if text.task == "category"), None)
        if category and self.demonstrations.rows.get(draw.image) and shows(draw):
            made.append(self._shown(self._sample(draw.image, view, category)))
        return made

    def _sample(self, row: int, view: int, text: Text[list[int]]) -> Sample:
        opening, question = text.question[: self.opening], text.question[self.opening :]
        return Sample(((row, view),), opening, [(question, text.answer(view) or [])])

    def _joined(self, samples: Sequence[Sample]) -> list[Sample]:
        return [replace(samples[0], texts=[text for sample in samples for text in sample.texts])]

    def _shown(self, sample: Sample) -> Sample:
        images, ids = self.demonstrations.before(sample.images[0][0])
        opening = sample.opening[: self.begin] + ids + sample.opening[self.begin :]
        return replace(sample, images=(*images, *sample.images), opening=opening)


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
