"""What a student can be asked for: words, a ranking of its classes, and where its eye puts an image."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from micrographia.assistant.hub_voice import HubVoice
from micrographia.assistant.load import load
from micrographia.assistant.voice import Choice, Example, Image, Processor, Voice
from micrographia.errors import StudentError
from micrographia.students.chat import ChatProcessor
from micrographia.teach.generate import BRIEFLY
from micrographia.tune.card import Card

IMAGES_AT_ONCE = 16
"""Images that are encoded together; a ranking encodes eight views of each."""

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


class Assistant:
    """A tuned student at work.

    assistant = Assistant.load(folder)
    assistant.answer([image], ["Is the surface smooth or rough?"])
    assistant.classify([image])
    """

    def __init__(self, model: Any, processor: Processor | ChatProcessor, card: Card, identity: str) -> None:
        self.model = model
        self.processor = processor
        self.voice = (
            HubVoice(model, processor) if isinstance(processor, ChatProcessor) else Voice(model, processor)
        )
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

    @property
    def longest_question(self) -> int:
        """In tokens."""
        return self.voice.longest_question

    def reads(self, question: str) -> bool:
        """Whether the question is short enough to be asked."""
        return self.voice.length(question) <= self.longest_question

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
        for question in questions:
            self._require_readable(question)
        texts = [""] * len(questions)
        rows_of: dict[int, list[int]] = defaultdict(list)
        for row, image in enumerate(index):
            rows_of[image // IMAGES_AT_ONCE].append(row)
        for batch, rows in rows_of.items():
            first = batch * IMAGES_AT_ONCE
            here = images[first : first + IMAGES_AT_ONCE]
            said = self.voice.answer(here, [questions[r] for r in rows], [index[r] - first for r in rows])
            for row, text in zip(rows, said, strict=True):
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
        if not self.knows_classes:
            raise StudentError(
                "the student was taught no classes", "give images a label and a category question, and tune"
            )
        words = dict(zip(self.card.classes, self.card.class_texts, strict=True))
        choice = Choice(self.card.category_question, self.card.class_texts)
        told = [
            [example._replace(label=words[example.label]) for example in examples] for examples in shown or ()
        ]
        rankings: list[Ranking] = []
        for start in range(0, len(images), IMAGES_AT_ONCE):
            part = slice(start, start + IMAGES_AT_ONCE)
            chances = self.voice.choose(images[part], choice, told[part] if shown else None)
            rankings += [self._ranked(row) for row in chances.tolist()]
        return rankings

    @torch.no_grad()
    def embed(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Where the eye puts each image, (n, d) of length 1; the nearer, the more alike."""
        rows = [
            F.normalize(self.voice.embed(images[start : start + IMAGES_AT_ONCE]).float())
            for start in range(0, len(images), IMAGES_AT_ONCE)
        ]
        return np.asarray(torch.cat(rows).cpu().numpy(), np.float32) if rows else np.empty((0, 0), np.float32)

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

    def _require_readable(self, question: str) -> None:
        if not question.strip():
            raise StudentError("the question is empty", "ask something, or leave it out to have a caption")
        length = self.voice.length(question)
        if length > self.longest_question:
            raise StudentError(
                f"the question {question[:40]!r} ... has {length} tokens, "
                f"the student reads {self.longest_question}",
                "shorten it; words that the student was not taught take several tokens",
            )

    def _ranked(self, probabilities: list[float]) -> Ranking:
        pairs = zip(self.card.classes, probabilities, strict=True)
        return tuple(sorted(pairs, key=lambda pair: -pair[1]))


def _plain(question: str) -> str:
    """Its words, whatever their case, the marks between them, and how long the answer is wanted."""
    return " ".join(re.findall(r"\w+", question.strip().removesuffix(BRIEFLY).casefold()))
