"""What a student can be asked for: words, a ranking of its classes, and where its eye puts an image."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from micrographia.assistant.load import Processor, Student, load
from micrographia.errors import StudentError
from micrographia.students.prompts import IMAGE, MAEMIProcessor
from micrographia.students.views import VIEWS, dihedral
from micrographia.teach.generate import BRIEFLY
from micrographia.tune.card import Card

IMAGES_AT_ONCE = 16
"""Images that are encoded together; a ranking encodes eight views of each."""

PROMPTS_AT_ONCE = 64
"""Questions that are answered together."""

Image: TypeAlias = NDArray[np.uint8]
"""A display image: (rows, columns) or (rows, columns, 3)."""

Ranking: TypeAlias = tuple[tuple[str, float], ...]
"""Classes and their probabilities, best first; they sum to 1."""


LEAST_ALIKE = 0.5
"""How alike two questions must read (Ratcliff/Obershelp, 0 to 1) for one to be offered for the other."""


@dataclass(frozen=True)
class Look:
    """What the assistant says of one image. ``ranking`` is empty where only a question was answered."""

    question: str
    text: str
    ranking: Ranking = ()

    @property
    def confidence(self) -> float | None:
        """Probability of the first class."""
        return self.ranking[0][1] if self.ranking else None


class Example(NamedTuple):
    """A labelled image that is shown before another one is asked about."""

    image: Image
    label: str


class Assistant:
    """A tuned student at work.

    assistant = Assistant.load(folder)
    assistant.answer([image], ["Is the surface smooth or rough?"])
    assistant.classify([image])
    """

    def __init__(self, model: Student, processor: Processor, card: Card, identity: str) -> None:
        self.model = model
        self.processor = processor
        self.card = card
        self.identity = identity
        """sha256 over the weights and the card's fingerprint: under this its answers are kept."""

    @classmethod
    def load(cls, folder: Path) -> Assistant:
        """The student in ``folder``. Raises StudentError where it is missing, partial or of another kind."""
        return cls(*load(folder))

    @property
    def knows_classes(self) -> bool:
        """Whether it was taught to name the class of an image."""
        return bool(self.card.classes and self.card.category_question)

    @cached_property
    def longest_question(self) -> int:
        """In tokens: what is left of the longest text it can read when an answer has had its room."""
        answer = self.model.generation_config.max_new_tokens
        return int(self.model.config.get_text_config().max_position_embeddings - answer)

    def reads(self, question: str) -> bool:
        """Whether the question is short enough to be asked."""
        return len(self.processor.question(question)) <= self.longest_question

    def was_taught(self, question: str) -> bool:
        """Whether this question was among those it learned to answer: to any other it says what it can."""
        return _plain(question) in self._taught

    def nearest_question(self, question: str) -> str | None:
        """The phrasing it was taught that reads most like the question; None where none does."""
        found = difflib.get_close_matches(_plain(question), self._taught, n=1, cutoff=LEAST_ALIKE)
        return self._taught[found[0]] if found else None

    @cached_property
    def _taught(self) -> dict[str, str]:
        return {_plain(text): text for phrasings in self.card.questions for text in phrasings}

    def answer(
        self, images: Sequence[Image], questions: Sequence[str], image_index: Sequence[int] | None = None
    ) -> list[str]:
        """The answer to each question: the likeliest next token, again and again, until the student ends.

        Question q is about image ``image_index[q]``, or image q without it. An image is encoded once for all
        of its questions. Every answer is the text that ``AutoProcessor`` and ``generate`` give for this
        image and question alone. Raises StudentError for a question that is empty or too long to read.
        """
        index = range(len(images)) if image_index is None else image_index
        if len(index) != len(questions):
            raise ValueError(
                f"{len(questions)} questions, but it is said of {len(index)} which image is meant"
            )
        prompts = [self._prompt(question) for question in questions]
        texts = [""] * len(prompts)
        rows_of: dict[int, list[int]] = defaultdict(list)
        for row, image in enumerate(index):
            rows_of[image // IMAGES_AT_ONCE].append(row)
        for batch, rows in rows_of.items():
            first = batch * IMAGES_AT_ONCE
            tokens = self._look(images[first : first + IMAGES_AT_ONCE])
            # Like questions together: there is little to pad, and their answers end at about the same time.
            rows.sort(key=lambda row: (len(prompts[row]), prompts[row]))
            for start in range(0, len(rows), PROMPTS_AT_ONCE):
                chosen = rows[start : start + PROMPTS_AT_ONCE]
                seen = tokens[[index[row] - first for row in chosen]]
                said = self._generate(seen, [prompts[row] for row in chosen])
                for row, text in zip(chosen, said, strict=True):
                    texts[row] = text
        return texts

    def classify(
        self, images: Sequence[Image], shown: Sequence[Sequence[Example]] | None = None
    ) -> list[Ranking]:
        """Its classes for each image, best first, with probabilities that sum to 1.

        ``shown`` has as many labelled examples for every image, which stand before it in the prompt as they
        did in tuning (``tune.demonstrations``).

        A probability is that of the class's name as the answer to the category question it was taught, among
        the names of all classes (``score_labels``), averaged over the eight ways to lay the image down,
        turned by quarters and mirrored: a micrograph has no up. Raises StudentError where it was taught no
        classes, and for examples where it was not taught to be shown any.
        """
        rankings: list[Ranking] = []
        for start in range(0, len(images), IMAGES_AT_ONCE):
            part = slice(start, start + IMAGES_AT_ONCE)
            rankings += self._rank(self.prepare(images[part]), shown[part] if shown else None)
        return rankings

    @torch.no_grad()
    def embed(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """The eye's ``<cls>`` of each image, (n, d) of length 1; the nearer, the more alike."""
        rows = [F.normalize(self.model.embed(pixels)) for pixels in self._batches(images)]
        if not rows:
            return np.empty((0, self.model.config.vision_config.hidden_size), np.float32)
        return np.asarray(torch.cat(rows).cpu().numpy(), np.float32)

    def ask(self, image: Image, question: str | None = None) -> Look:
        """The answer to ``question``; without one, a caption and the ranking of the classes.

        Raises StudentError as ``answer`` does, and where it was taught neither captions nor classes.
        """
        if question is not None:
            return Look(question, self.answer([image], [question])[0])
        return self.describe([image])[0]

    def describe(self, images: Sequence[Image]) -> list[Look]:
        """Caption and ranking of each image; what the student was not taught is left empty."""
        question = self.card.caption_question
        if not (question or self.knows_classes):
            raise StudentError("the student was taught neither captions nor classes", "ask it a question")
        captions = self.answer(images, [question] * len(images)) if question else [""] * len(images)
        rankings = self.classify(images) if self.knows_classes else [()] * len(images)
        return [Look(question, *said) for said in zip(captions, rankings, strict=True)]

    def prepare(self, images: Sequence[Image]) -> Tensor:
        """``pixel_values`` (n, channels, side, side) of the images, as the student takes them."""
        pixels: Tensor = self.processor.look(images)["pixel_values"]
        return pixels.to(self.model.device)

    def _batches(self, images: Sequence[Image]) -> Iterator[Tensor]:
        for start in range(0, len(images), IMAGES_AT_ONCE):
            yield self.prepare(images[start : start + IMAGES_AT_ONCE])

    def _prompt(self, question: str) -> list[int]:
        """The question as token ids."""
        if not question.strip():
            raise StudentError("the question is empty", "ask something, or leave it out to have a caption")
        ids = self.processor.question(question)
        if len(ids) > self.longest_question:
            raise StudentError(
                f"the question {question[:40]!r} ... has {len(ids)} tokens, "
                f"the student reads {self.longest_question}",
                "shorten it; words that the student was not taught take several tokens",
            )
        return ids

    @torch.no_grad()
    def _look(self, images: Sequence[Image]) -> Tensor:
        return self.model.look(self.prepare(images))

    def _generate(self, image_tokens: Tensor, prompts: list[list[int]]) -> list[str]:
        padded: Any = self.processor.tokenizer.pad(
            {"input_ids": prompts}, padding_side="left", return_tensors="pt"
        ).to(self.model.device)
        made = self.model.generate(**padded, image_tokens=image_tokens, do_sample=False, num_beams=1)
        return self.processor.said(made, padded["input_ids"])

    @torch.no_grad()
    def _rank(self, pixel_values: Tensor, shown: Sequence[Sequence[Example]] | None = None) -> list[Ranking]:
        prompt, names = self._category_prompt
        count = len(pixel_values)
        turns = torch.tensor([turns for turns, _ in VIEWS], device=pixel_values.device).repeat(count)
        mirrored = torch.tensor([flag for _, flag in VIEWS], device=pixel_values.device).repeat(count)
        views = dihedral(pixel_values.repeat_interleave(len(VIEWS), 0), turns, mirrored)
        if shown is None:
            scores = self.model.score_labels(views, prompt, names)
        else:
            prompts, mask = (row.repeat_interleave(len(VIEWS), 0) for row in self._after(shown))
            examples = self.prepare([example.image for of_image in shown for example in of_image])
            before = torch.arange(len(examples), device=views.device).view(count, -1)
            asked = len(examples) + torch.arange(len(views), device=views.device)[:, None]
            index = torch.cat([before.repeat_interleave(len(VIEWS), 0), asked], dim=1)
            pixels = torch.cat([examples, views])
            scores = self.model.score_labels(pixels, prompts, names, mask, image_index=index)
        probabilities = scores.double().exp().view(count, len(VIEWS), -1).mean(1)
        probabilities /= probabilities.sum(1, keepdim=True)
        return [self._ranked(row) for row in probabilities.tolist()]

    def _after(self, shown: Sequence[Sequence[Example]]) -> tuple[Tensor, Tensor]:
        """Prompts (B, P) with the examples before the category question, and their mask."""
        processor = self.processor
        if not isinstance(processor, MAEMIProcessor):
            raise StudentError(
                "this student was not taught to be shown examples", "ask without them, or tune maemi or llava"
            )
        question = self.card.category_question
        words = dict(zip(self.card.classes, self.card.class_texts, strict=True))
        rows = [
            [i for example in examples for i in processor.demonstration(question, words[example.label])]
            for examples in shown
        ]
        asked = processor.turn([IMAGE, question])
        padded = processor.padded([[*processor.opening, *row, *asked] for row in rows])
        ids, mask = (padded[name].to(self.model.device) for name in ("input_ids", "attention_mask"))
        return ids, mask

    def _ranked(self, probabilities: list[float]) -> Ranking:
        pairs = zip(self.card.classes, probabilities, strict=True)
        return tuple(sorted(pairs, key=lambda pair: -pair[1]))

    @cached_property
    def _category_prompt(self) -> tuple[Tensor, Tensor]:
        """The category question, and the classes in the student's words, as token ids."""
        if not self.knows_classes:
            raise StudentError(
                "the student was taught no classes", "give images a label and a category question, and tune"
            )
        prompt = torch.tensor(self._prompt(self.card.category_question))
        names = self.processor.answers(self.card.class_texts)
        return prompt.to(self.model.device), names.to(self.model.device)


def _plain(question: str) -> str:
    """Its words, whatever their case, the marks between them, and how long the answer is wanted."""
    return " ".join(re.findall(r"\w+", question.strip().removesuffix(BRIEFLY).casefold()))
