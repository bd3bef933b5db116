"""What every family of students needs of a run: its data, its folders, and the parts that they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.processing_utils import ProcessorMixin

from micrographia.engine import Progress
from micrographia.recipe import TuneSection
from micrographia.students.chat import ChatProcessor
from micrographia.students.configuration import VisionConfig
from micrographia.students.processor import MVaEMaImageProcessor
from micrographia.students.tokens import train_tokenizer
from micrographia.students.vision import LabelledVision, VisionEncoder
from micrographia.tune.collate import Asks, Texts, texts_by_micrograph
from micrographia.tune.corpus import Corpus
from micrographia.tune.fit import Curve
from micrographia.tune.labels import (
    LabelBatches,
    LabelSets,
    facts_by_micrograph,
    finding,
    label_sets,
    learn_labels,
)
from micrographia.tune.memory import FEWEST_IMAGES, Footprint, Step, footprint
from micrographia.tune.order import Draw, Plain
from micrographia.tune.pixels import Pixels, ours, prepare
from micrographia.tune.plan import Plan, label_order, without_too_long
from micrographia.tune.precision import Precision, choose_once
from micrographia.workspace import Workspace

VOCABULARY = 2000
ROOM = "room"
"""File of a training: how large the parts of its steps are."""
ADAPTER = "adapter"
"""Folder beside a student's weights: the adapters that became part of them, so that they can be exported."""


@dataclass(frozen=True)
class Run:
    """One student to be made."""

    workspace: Workspace
    corpus: Corpus
    folder: Path
    """For checkpoints; it goes when the student is there."""
    progress: Progress
    say: Callable[[str], None]
    """Is given the plan, line by line, before the first step."""

    @property
    def recipe(self) -> TuneSection:
        """How it learns."""
        return self.workspace.recipe.tune

    @cached_property
    def pixels(self) -> Pixels:
        """Every image at the size of the eye."""
        size = vision_of(self.recipe.setting, 1).image_size
        return prepare(self.workspace, self.corpus.micrographs, ours(size), self.progress)

    @cached_property
    def precision(self) -> Precision:
        """The arithmetic, chosen once."""
        return choose_once(self.folder / "precision.json")

    @cached_property
    def sets(self) -> LabelSets:
        """What the eye learns to find."""
        facts = facts_by_micrograph(self.corpus.conversations)
        of_images = [facts.get(m.id, {}) for m in self.corpus.micrographs]
        return label_sets(of_images, self.corpus.parts["train"])

    @property
    def labels_first(self) -> bool:
        """Whether the eye learns labels, and is then locked."""
        return self.recipe.labels.epochs != 0 and self.sets.known(self.corpus.parts["validation"])

    @cached_property
    def vision(self) -> VisionConfig:
        """The shape of the eye."""
        vision = vision_of(self.recipe.setting, self.pixels.shape[1])
        return finding(vision, self.sets) if self.labels_first else vision

    def image_processor(self) -> MVaEMaImageProcessor:
        """Makes what the eye takes."""
        return MVaEMaImageProcessor(self.vision.image_size, self.pixels.shape[1])

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Learned from the words of the training part."""
        taught = self.corpus.of("train")
        return train_tokenizer([text for c in taught for text in (c.prompt, c.answer)], VOCABULARY)

    def texts(
        self, processor: Asks[list[int]], longest: int, places: int = 0
    ) -> tuple[list[Texts], list[str]]:
        """Texts of each micrograph, in their order, and what is too long to be read; ``places`` of a text's
        ids stand for its image."""
        every = texts_by_micrograph(self.corpus.conversations, processor)
        texts = [every.get(m.id, {}) for m in self.corpus.micrographs]
        return without_too_long(texts, [m.name for m in self.corpus.micrographs], longest, places)

    def eye_footprint(self) -> Footprint:
        """Of the stage in which the eye learns labels."""
        batches = LabelBatches(self.pixels, self.sets)
        images = self.recipe.labels.batch
        with torch.random.fork_rng():
            eye = LabelledVision(self.vision)
        return footprint(
            Step("learning labels", "tune.labels.batch", images, images, shared=False),
            *(eye, lambda rows: batches([Draw(0, None)] * rows), self.precision),
            fewest=FEWEST_IMAGES,
        )

    def begin(self, planned: Plan) -> None:
        """Say the plan. Raises PlanError where it does not fit the memory."""
        for line in planned.lines():
            self.say(line)
        planned.memory.require()

    def learn_eye(self, train: Sequence[int], validation: Sequence[int]) -> tuple[VisionEncoder, Curve]:
        """An eye that tells the labels of the training images."""
        eye, curve = learn_labels(
            *(self.vision, self.sets, self.pixels, label_order(train, self.recipe), Plain(validation)),
            *(self.recipe.labels, self.folder / "labels", self.precision, self.progress),
        )
        return eye.encoder, curve


@dataclass(frozen=True)
class Made:
    """A student that has learned, and what its card tells of it."""

    model: PreTrainedModel
    processor: ProcessorMixin | ChatProcessor
    parts: Mapping[str, Sequence[int]]
    plan: str
    label_curve: Curve
    curve: Curve
    demonstrations: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """Of each image, by row, those that it was shown with."""


def vision_of(setting: str, channels: int) -> VisionConfig:
    """The eye of a recipe's setting."""
    if setting == "paper":
        return VisionConfig.paper(channels=channels, key_size=16)  # MVaEMa's, where MAEMI's eye has 32
    return VisionConfig.default(channels=channels)
