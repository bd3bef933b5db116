"""What a run will do, worked out and printed before its first step; nothing is cut or left out in silence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from micrographia.recipe import TuneSection
from micrographia.records import Micrograph
from micrographia.students.chat import Tokens
from micrographia.tune.collate import Text, Texts
from micrographia.tune.corpus import require_learners
from micrographia.tune.memory import Memory
from micrographia.tune.order import Order
from micrographia.tune.precision import Precision

LABEL_STEPS, WORD_STEPS = 700, 360
"""Steps of the two stages where the recipe does not say how many epochs: enough for a thousand images."""

FEWEST_EPOCHS = 4
"""Passes over the images, however many there are."""

FEATURE = 10
"""Pixels of a feature whose size after scaling is told."""


Learns = Literal["labels", "words", "nothing"]
"""What an eye learns: labels first, then it is frozen; with the words; nothing, where one was given."""


@dataclass(frozen=True)
class Scaled:
    """How images reach a student's eye."""

    form: str
    """Size and colour, in words."""
    least: float
    """Pixels of the eye for each pixel of an image, along the side and of the image that lose most."""
    most: float
    """The same where least is lost."""

    def __str__(self) -> str:
        factors = f"{self.least:.2g}" + ("" if self.least == self.most else f" to {self.most:.2g}")
        becomes = f"{FEATURE} px become {FEATURE * self.least:.2g} at worst"
        return f"{self.form}; scaled by {factors}, so that {becomes}"


def squashed(micrographs: Sequence[Micrograph], pixels: tuple[int, ...]) -> Scaled:
    """Fields of any form on squares: ``pixels`` (n, channels, size, size) is the shape of the images as the
    eye takes them."""
    _, channels, size, _ = pixels
    factors = [size / side for micrograph in micrographs for side in field_size(micrograph)]
    colour = "grey" if channels == 1 else "colour"
    return Scaled(f"{size} x {size} px, {colour}", min(factors), max(factors))


def field_size(micrograph: Micrograph) -> tuple[int, int]:
    """(rows, columns) of what students see."""
    box = micrograph.field
    if box is None:
        return micrograph.height, micrograph.width
    return box.bottom - box.top, box.right - box.left


def sample_tokens(texts: Sequence[Texts], image_tokens: int, places: int = 0) -> list[Tokens]:
    """Of each text, with its image; ``places`` of its ids stand for the image."""
    return [
        Tokens(image_tokens, text.length - places)
        for image in texts
        for by_task in image.values()
        for text in by_task
    ]


@dataclass(frozen=True)
class Plan:
    """Counts and estimates of one run."""

    training: int
    validation: int
    test: int
    untaught: int
    """Images of the workspace that no conversation is about."""
    scaled: Scaled
    samples: Sequence[Tokens]
    """Of each text with its images."""
    left_out: Sequence[str]
    """What is longer than the student reads, with its lengths."""
    parameters: int
    label_steps: int
    steps: int
    eye: Learns
    precision: Precision
    memory: Memory
    shown: str = ""
    """What stands before questions, in words."""
    between: Mapping[str, int] = field(default_factory=dict)
    """Steps of the stages between the eye's and the words, by name."""

    def lines(self) -> list[str]:
        """The plan in words."""
        eye = {
            "labels": f"labels first ({self.label_steps} steps), then frozen while words are learned",
            "words": "learns together with the words",
            "nothing": "frozen, as it came",
        }[self.eye]
        free, *stages = self.memory.lines()
        return [
            f"images       {self.training} train, {self.validation} validation, {self.test} test (kept away)"
            + (f"; {self.untaught} left out, not taught" if self.untaught else ""),
            f"each image   {self.scaled}",
            f"texts        {len(self.samples)}; {_spread([sample.image for sample in self.samples])} image "
            f"tokens and {_spread([sample.text for sample in self.samples])} text tokens",
            *([f"shown        {self.shown}"] if self.shown else []),
            f"left out     {len(self.left_out)} texts{''.join(f'; {text}' for text in self.left_out[:5])}",
            f"student      {self.parameters / 1e6:.2f} M parameters",
            f"memory       {free}",
            *(f"             {stage}" for stage in stages),
            f"eye          {eye}",
            *(f"{stage:<12} {steps} steps" for stage, steps in self.between.items()),
            f"words        up to {self.steps} steps",
            f"arithmetic   {'bfloat16' if self.precision.bf16 else 'float32'}: {self.precision.reason}",
        ]


def _spread(counts: Sequence[int]) -> str:
    middle, most = float(np.median(counts)), max(counts)
    return str(most) if middle == most else f"{middle:.0f} (median) to {most}"


def plan(
    parts: Mapping[str, Sequence[int]],
    untaught: int,
    scaled: Scaled,
    samples: Sequence[Tokens],
    left_out: Sequence[str],
    parameters: int,
    recipe: TuneSection,
    eye: Learns,
    precision: Precision,
    memory: Memory,
    shown: str = "",
    between: Mapping[str, int] = MappingProxyType({}),
) -> Plan:
    """The plan of a run. What does not fit the memory is for ``Memory.require`` to refuse."""
    labels, words = label_order(parts["train"], recipe), word_order(parts["train"], recipe)
    return Plan(
        training=len(parts["train"]),
        validation=len(parts["validation"]),
        test=len(parts["test"]),
        untaught=untaught,
        scaled=scaled,
        samples=samples,
        left_out=left_out,
        parameters=parameters,
        label_steps=math.prod(labels.rounds(recipe.labels.batch)) if eye == "labels" else 0,
        steps=math.prod(words.rounds(recipe.batch)),
        eye=eye,
        precision=precision,
        memory=memory,
        shown=shown,
        between=between,
    )


def label_order(images: Sequence[int], recipe: TuneSection) -> Order:
    """The order in which the eye sees the training images."""
    labels = recipe.labels
    return Order(images, epochs_of(labels.epochs, images, labels.batch, LABEL_STEPS), recipe.seed)


def word_order(images: Sequence[int], recipe: TuneSection) -> Order:
    """The order in which the student hears about the training images."""
    return Order(images, epochs_of(recipe.epochs, images, recipe.batch, WORD_STEPS), recipe.seed)


def epochs_of(
    asked: int | None, images: Sequence[int], batch: int, steps: int, fewest: int = FEWEST_EPOCHS
) -> int:
    """As many passes as are asked for, else as many as make about so many steps."""
    return max(fewest, math.ceil(steps * batch / len(images))) if asked is None else asked


def without_too_long(
    texts: Sequence[Texts], names: Sequence[str], longest: int, places: int = 0
) -> tuple[list[Texts], list[str]]:
    """The texts that the student can read, and a line for each that it cannot; ``places`` of a text's ids
    stand for its image."""
    left_out: list[str] = []

    def fits(text: Text[list[int]], name: str) -> bool:
        if text.length > longest:
            left_out.append(f"{name}: {Tokens(places, text.length - places)}; {longest} are read")
        return text.length <= longest

    kept: list[Texts] = [
        {task: [text for text in by_task if fits(text, name)] for task, by_task in image.items()}
        for image, name in zip(texts, names, strict=True)
    ]
    return kept, left_out


def with_texts(
    parts: Mapping[str, Sequence[int]], texts: Sequence[Mapping[str, Sequence[Any]]]
) -> dict[str, list[int]]:
    """The rows of each part whose images still have something said of them.

    Raises PlanError where there is nothing to learn from or to validate with.
    """
    spoken = {part: [row for row in rows if any(texts[row].values())] for part, rows in parts.items()}
    require_learners(spoken)
    return spoken
