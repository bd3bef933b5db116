"""How our own students are asked: an image is looked at once for all questions about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from micrographia.errors import StudentError
from micrographia.students.chat import SMALL
from micrographia.students.llava import SightedLlava
from micrographia.students.maemi import MAEMIForConditionalGeneration
from micrographia.students.mvaema import MVaEMaForConditionalGeneration
from micrographia.students.processor import MVaEMaProcessor
from micrographia.students.prompts import IMAGE, MAEMIProcessor
from micrographia.students.side_by_side import NO_IMAGE
from micrographia.students.views import VIEWS, dihedral

Student = MVaEMaForConditionalGeneration | MAEMIForConditionalGeneration | SightedLlava
Processor = MVaEMaProcessor | MAEMIProcessor

Image: TypeAlias = NDArray[np.uint8]
"""A display image: (rows, columns) or (rows, columns, 3)."""

PROMPTS_AT_ONCE = 64
"""Questions that are answered together."""


class Example(NamedTuple):
    """A labelled image that is shown before another one is asked about."""

    image: Image
    label: str


class Choice(NamedTuple):
    """A closed question: the words of it, and those of each answer it has."""

    question: str
    answers: Sequence[str]


def that_fit(examples: Sequence[Example], fits: Callable[[Sequence[Example]], bool]) -> Sequence[Example]:
    """As many of the examples as fit, as in tuning: the likest, which stand last; down to none."""
    kept = (examples[first:] for first in range(len(examples)))
    return next(filter(fits, kept), ())


class Voice:
    """A student of ours, and its processor."""

    def __init__(self, model: Student, processor: Processor) -> None:
        self.model = model
        self.processor = processor

    @property
    def longest(self) -> int:
        """Tokens of the longest text that it reads, images and answer among them."""
        return int(self.model.config.get_text_config().max_position_embeddings)

    @property
    def longest_question(self) -> int:
        """In tokens: what is left of the longest text when an answer has had its room."""
        return self.longest - int(self.model.generation_config.max_new_tokens)

    def length(self, question: str, size: tuple[int, int] = SMALL) -> int:
        """Tokens of a question about one image; images of every ``size`` take up as many."""
        return len(self.processor.question(question))

    def answer(self, images: Sequence[Image], questions: Sequence[str], index: Sequence[int]) -> list[str]:
        """The answer to each question, which is about image ``index[q]``."""
        with torch.no_grad():
            tokens = self.model.look(self.prepare(images))
        prompts = [self.processor.question(question) for question in questions]
        texts = [""] * len(prompts)
        # Like questions together: there is little to pad, and their answers end at about the same time.
        rows = sorted(range(len(prompts)), key=lambda row: (len(prompts[row]), prompts[row]))
        for start in range(0, len(rows), PROMPTS_AT_ONCE):
            chosen = rows[start : start + PROMPTS_AT_ONCE]
            said = self._generate(tokens[[index[row] for row in chosen]], [prompts[row] for row in chosen])
            for row, text in zip(chosen, said, strict=True):
                texts[row] = text
        return texts

    @torch.no_grad()
    def choose(
        self, images: Sequence[Image], choice: Choice, shown: Sequence[Sequence[Example]] | None = None
    ) -> NDArray[np.float64]:
        """Probability (n, K) of each answer about each image, the mean over the eight ways to lay it down.

        ``shown`` are examples for each image, the likest last, whose labels are among the answers; of those
        that are too many for the longest text, the least like are left out.
        """
        pixels, count = self.prepare(images), len(images)
        turns = torch.tensor([turns for turns, _ in VIEWS], device=pixels.device).repeat(count)
        mirrored = torch.tensor([flag for _, flag in VIEWS], device=pixels.device).repeat(count)
        views = dihedral(pixels.repeat_interleave(len(VIEWS), 0), turns, mirrored)
        names = self.processor.answers(choice.answers).to(pixels.device)
        told = [self._that_fit(examples, choice) for examples in shown or ()]
        if not any(told):
            prompt = torch.tensor(self.processor.question(choice.question), device=pixels.device)
            scores = self.model.score_labels(views, prompt, names)
        else:
            scores = self._score_after(told, views, choice, names)
        probabilities = scores.double().exp().view(count, len(VIEWS), -1).mean(1)
        return np.asarray((probabilities / probabilities.sum(1, keepdim=True)).cpu().numpy())

    @torch.no_grad()
    def embed(self, images: Sequence[Image]) -> Tensor:
        """Where its eye puts each image, (n, d)."""
        return self.model.embed(self.prepare(images))

    def prepare(self, images: Sequence[Image]) -> Tensor:
        """``pixel_values`` (n, channels, side, side) of the images, as the student takes them."""
        pixels: Tensor = self.processor.look(images)["pixel_values"]
        return pixels.to(self.model.device)

    def _generate(self, image_tokens: Tensor, prompts: list[list[int]]) -> list[str]:
        padded: Any = self.processor.tokenizer.pad(
            {"input_ids": prompts}, padding_side="left", return_tensors="pt"
        ).to(self.model.device)
        made = self.model.generate(**padded, image_tokens=image_tokens, do_sample=False, num_beams=1)
        return self.processor.said(made, padded["input_ids"])

    def _that_fit(self, examples: Sequence[Example], choice: Choice) -> Sequence[Example]:
        room = self.longest - max(len(self.processor.answer(text)) for text in choice.answers)
        return that_fit(examples, lambda kept: len(self._prompt(kept, choice.question)) <= room)

    def _prompt(self, before: Sequence[Example], question: str) -> list[int]:
        """The ids of a question about an image, with examples before it."""
        processor = self.processor
        if not isinstance(processor, MAEMIProcessor):
            raise StudentError(
                "this student was not taught to be shown examples", "ask without them, or tune maemi or llava"
            )
        shown = [i for example in before for i in processor.demonstration(question, example.label)]
        return [*processor.opening, *shown, *processor.turn([IMAGE, question])]

    def _score_after(
        self, shown: Sequence[Sequence[Example]], views: Tensor, choice: Choice, names: Tensor
    ) -> Tensor:
        """As ``score_labels`` of the views, with the examples of each image before it in the prompt."""
        padded = self.processor.tokenizer.pad(
            {"input_ids": [self._prompt(before, choice.question) for before in shown]},
            padding_side="left",
            return_tensors="pt",
        )
        prompts, mask = (
            padded[name].to(views.device).repeat_interleave(len(VIEWS), 0)
            for name in ("input_ids", "attention_mask")
        )
        examples = self.prepare([example.image for before in shown for example in before])
        numbers = iter(range(len(examples)))
        seen = [[*islice(numbers, len(before))] for before in shown]
        index = [
            torch.tensor([*seen[view // len(VIEWS)], len(examples) + view], device=views.device)
            for view in range(len(views))
        ]
        pixels = torch.cat([examples, views])
        return self.model.score_labels(
            pixels, prompts, names, mask, image_index=pad_sequence(index, True, NO_IMAGE)
        )
