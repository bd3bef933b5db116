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
from micrographia.students.chat import SMALL, ChatProcessor
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
        """The student in ``folder``.

        Raises StudentError where it is missing, partial or of another kind, or reads too little for a
        question and an answer.
        """
        assistant = cls(*load(folder))
        if not assistant.reads("?"):
            longest = assistant.voice.longest
            raise StudentError(
                f"the student in {folder} reads {longest} tokens, of which its answer may have "
                f"{longest - assistant.longest_question}, and no question has room beside it",
                "tune again with a larger tune.longest, or lower max_new_tokens in generation_config.json",
            )
        return assistant

    @property
    def knows_classes(self) -> bool:
        """Whether it was taught to name the class of an image."""
        return bool(self.card.classes and self.card.category_question)

    @property
    def longest_question(self) -> int:
        """In tokens."""
        return self.voice.longest_question

    def reads(self, question: str, size: tuple[int, int] = SMALL) -> bool:
        """Whether the question is short enough to be asked about an image of ``size`` (rows, columns)."""
        return self.voice.length(question, size) <= self.longest_question

    def refusal(self, image: Image) -> StudentError | None:
        """Why this image cannot be described; None where it can."""
        for question in filter(None, (self.card.caption_question, self.card.category_question)):
            if not self.reads(question, image.shape[:2]):
                return self._too_long(question, image)
        return None

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
        image and question alone. Raises StudentError for a question that is empty or too long to read beside
        its image.
        """
        index = range(len(images)) if image_index is None else image_index
        if len(index) != len(questions):
            raise ValueError(
                f"{len(questions)} questions, but it is said of {len(index)} which image is meant"
            )
        for question, image in zip(questions, index, strict=True):
            self._require_readable(question, images[image])
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

        ``shown`` has labelled examples for every image, the likest last, which stand before it in the prompt
        as they did in tuning (``tune.demonstrations``): where they are too long, the least like are left out.

        A probability is that of the class's name as the answer to the category question it was taught, among
        the names of all classes (``score_labels``). Of our own students it is the mean over the eight ways to
        lay the image down, turned by quarters and mirrored, since a micrograph has no up; a model of the hub
        is asked about the image as it lies. Raises StudentError where it was taught no classes, for an
        example of another class, and for examples where it was not taught to be shown any.
        """
        if not self.knows_classes:
            raise StudentError(
                "the student was taught no classes", "give images a label and a category question, and tune"
            )
        words = dict(zip(self.card.classes, self.card.class_texts, strict=True))
        choice = Choice(self.card.category_question, self.card.class_texts)
        for label in {example.label for examples in shown or () for example in examples} - words.keys():
            raise StudentError(
                f"an example has the label {label!r}, and the student was taught {', '.join(words)}",
                "show examples of these classes, or tune again with that one",
            )
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

    def _require_readable(self, question: str, image: Image) -> None:
        if not question.strip():
            raise StudentError("the question is empty", "ask something, or leave it out to have a caption")
        if not self.reads(question, image.shape[:2]):
            raise self._too_long(question, image)

    def _too_long(self, question: str, image: Image) -> StudentError:
        rows, columns = image.shape[:2]
        beside, remedy = "", "shorten it; words that the student was not taught take several tokens"
        if self.reads(question):
            beside = f" beside an image of {columns} x {rows} px"
            remedy = "give a smaller image, or tune with a smaller tune.max_pixels"
        return StudentError(
            f"the question {question[:40]!r} ... has {self.voice.length(question, (rows, columns))} tokens"
            f"{beside}, the student reads {self.longest_question}",
            remedy,
        )

    def _ranked(self, probabilities: list[float]) -> Ranking:
        pairs = zip(self.card.classes, probabilities, strict=True)
        return tuple(sorted(pairs, key=lambda pair: -pair[1]))


def _plain(question: str) -> str:
    """Its words, whatever their case, the marks between them, and how long the answer is wanted."""
    return " ".join(re.findall(r"\w+", question.strip().removesuffix(BRIEFLY).casefold()))
