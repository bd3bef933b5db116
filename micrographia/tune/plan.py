"""What a run will do, worked out and printed before its first step; nothing is cut or left out in silence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from micrographia.recipe import TuneSection
from micrographia.tune.collate import Text, Texts
from micrographia.tune.corpus import require_learners
from micrographia.tune.order import Order
from micrographia.tune.precision import Precision

LABEL_STEPS, WORD_STEPS = 700, 360
"""Steps of the two stages where the recipe does not say how many epochs: enough for a thousand images."""

FEWEST_EPOCHS = 4
"""Passes over the images, however many there are."""

ADAM_BYTES = 16
"""Bytes for each trained parameter in float32: the weight, its gradient and two moments."""


@dataclass(frozen=True)
class Plan:
    """Counts and estimates of one run."""

    training: int
    validation: int
    test: int
    texts: int
    left_out: tuple[str, ...]
    """Texts that are longer than the student reads, with their lengths."""
    untaught: int
    """Images of the workspace that no conversation is about."""
    tokens_median: float
    tokens_longest: int
    image_tokens: int
    image_size: int
    channels: int
    parameters: int
    label_steps: int
    steps: int
    locked: bool
    precision: Precision

    def lines(self) -> list[str]:
        """The plan in words."""
        eye = (
            f"labels first ({self.label_steps} steps), then locked while it learns words"
            if self.locked
            else "learns together with the words"
        )
        colour = "grey" if self.channels == 1 else "colour"
        weights = self.parameters * ADAM_BYTES / 2**20
        return [
            f"images       {self.training} train, {self.validation} validation, {self.test} test (kept away)"
            + (f"; {self.untaught} left out, not taught" if self.untaught else ""),
            f"each image   {self.image_size} x {self.image_size} px, {colour}: {self.image_tokens} tokens",
            f"texts        {self.texts}; {self.tokens_median:.0f} tokens (median) to {self.tokens_longest}",
            f"left out     {len(self.left_out)} texts{''.join(f'; {text}' for text in self.left_out[:5])}",
            f"student      {self.parameters / 1e6:.2f} M parameters; at most {weights:.0f} MiB with moments",
            f"eye          {eye}",
            f"words        up to {self.steps} steps",
            f"arithmetic   {'bfloat16' if self.precision.bf16 else 'float32'}: {self.precision.reason}",
        ]


def plan(
    parts: Mapping[str, Sequence[int]],
    texts: Sequence[Texts],
    left_out: Sequence[str],
    untaught: int,
    model: PreTrainedModel,
    recipe: TuneSection,
    locked: bool,
    precision: Precision,
    pixels: tuple[int, ...],
) -> Plan:
    """The plan of a run; ``pixels`` (n, channels, size, size) is the shape of the images as the eye takes
    them.

    Raises PlanError where there is nothing to learn from or to validate with.
    """
    require_learners(parts)
    with torch.no_grad():
        image_tokens = model.encode_images(torch.zeros(1, *pixels[1:], dtype=model.dtype))[0].shape[1]
    labels, words = label_order(parts["train"], recipe), word_order(parts["train"], recipe)
    lengths = [text.length for image in texts for by_task in image.values() for text in by_task]
    return Plan(
        training=len(parts["train"]),
        validation=len(parts["validation"]),
        test=len(parts["test"]),
        texts=len(lengths),
        left_out=tuple(left_out),
        untaught=untaught,
        tokens_median=float(np.median(lengths)),
        tokens_longest=max(lengths),
        image_tokens=image_tokens,
        image_size=pixels[2],
        channels=pixels[1],
        parameters=model.num_parameters(),
        label_steps=math.prod(labels.rounds(recipe.labels.batch)) if locked else 0,
        steps=math.prod(words.rounds(recipe.batch)),
        locked=locked,
        precision=precision,
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
    texts: Sequence[Texts], names: Sequence[str], longest: int
) -> tuple[list[Texts], list[str]]:
    """The texts that the student can read, and a line for each that it cannot."""
    left_out: list[str] = []

    def fits(text: Text[list[int]], name: str) -> bool:
        if text.length > longest:
            left_out.append(f"{name}: {text.length} tokens, {longest} are read")
        return text.length <= longest

    kept: list[Texts] = [
        {task: [text for text in by_task if fits(text, name)] for task, by_task in image.items()}
        for image, name in zip(texts, names, strict=True)
    ]
    return kept, left_out


def with_texts(
    parts: Mapping[str, Sequence[int]], texts: Sequence[Mapping[str, Sequence[Any]]]
) -> dict[str, list[int]]:
    """The rows of each part whose images still have something said of them."""
    return {part: [row for row in rows if any(texts[row].values())] for part, rows in parts.items()}
