"""The first stage: the eye learns classes and facts as labels, before any words.

The labels are the claims of the teaching with a closed set of values: the class, and every level, presence or
direction. The eye so comes to the second stage with all that the texts will speak of.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from micrographia.engine import Progress
from micrographia.recipe import LabelsStage
from micrographia.records import CANNOT_TELL, Claim, Conversation
from micrographia.students.views import dihedral, random_views
from micrographia.students.vision import CLASS, LabelledVision, VisionConfig
from micrographia.teach.levels import DIRECTIONS, direction_at, turned_angle
from micrographia.tune.fit import Curve, Stage, fit
from micrographia.tune.order import Draw, Order, Plain
from micrographia.tune.pixels import Pixels
from micrographia.tune.precision import Precision

UNKNOWN = -100
"""The column's value where a micrograph has no label of a set; no loss falls on it."""

SEEN = ("label", "measured")
"""Kinds of claim that the pixels themselves show; a header's facts are not to be guessed from pixels."""

FEWEST = 5
"""A value that fewer training images have is not worth an output of its own."""


@dataclass(frozen=True)
class LabelSets:
    """``values`` of each set, sets in alphabetical order; ``table`` (n, sets) holds indices or UNKNOWN."""

    values: dict[str, list[str]]
    table: NDArray[np.int64]

    def column(self, name: str) -> int:
        """Where a set stands in the table."""
        return list(self.values).index(name)


def facts_by_micrograph(conversations: Iterable[Conversation]) -> dict[str, dict[str, str]]:
    """What the claims about each micrograph say that its pixels show: value by subject."""
    facts: dict[str, dict[str, str]] = defaultdict(dict)
    for conversation in conversations:
        for claim in conversation.claims:
            if _is_label(claim):
                facts[conversation.micrographs[0]][claim.subject] = claim.value
    return dict(facts)


def _is_label(claim: Claim) -> bool:
    return claim.kind in SEEN and claim.value != CANNOT_TELL


def label_sets(facts: Sequence[Mapping[str, str]], training: Sequence[int]) -> LabelSets:
    """The closed sets among ``facts`` (one mapping an image, in the order of the pixels).

    A set needs at least two values that each belong to ``FEWEST`` images of ``training``; a class of fewer
    images is kept, since the vocabulary of classes is the user's. Rarer values of other sets are UNKNOWN.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for image in training:
        for subject, value in facts[image].items():
            counts[subject][value] += 1
    values = {
        subject: sorted(v for v, n in counts[subject].items() if subject == CLASS or n >= FEWEST)
        for subject in sorted(counts)
    }
    if "direction" in values:
        values["direction"] = list(DIRECTIONS)  # whole, so that every turned view has its value
    values = {subject: known for subject, known in values.items() if len(known) > 1}
    index = {subject: {value: i for i, value in enumerate(known)} for subject, known in values.items()}
    table = [[index[s].get(image.get(s, ""), UNKNOWN) for s in values] for image in facts]
    return LabelSets(values, np.array(table, dtype=np.int64).reshape(len(facts), len(values)))


class LabelBatches:
    """Draws to batches of ``LabelledVision``: half of a training batch teaches the class from any crop,
    the other half class and facts from the whole image, since a crop may change a count or a texture."""

    def __init__(self, pixels: Pixels, sets: LabelSets) -> None:
        self.pixels = pixels
        self.sets = sets
        self._turned = torch.tensor(_turned_directions())

    def __call__(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """``pixel_values`` and ``labels`` for the model."""
        rows = [draw.image for draw in draws]
        pixels = torch.from_numpy(self.pixels[rows].astype(np.float32))
        labels = torch.from_numpy(self.sets.table[rows])
        seed = draws[0].seed
        if seed is None:
            return {"pixel_values": pixels, "labels": labels}
        generator = torch.Generator().manual_seed(seed)
        return self._views(pixels, labels, generator)

    def _views(
        self, pixels: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> dict[str, Any]:
        views = random_views(pixels, generator, torch.ones(len(pixels), dtype=torch.bool))
        whole = dihedral(pixels, views.turns, views.mirrored)
        labels = labels.clone()
        if "direction" in self.sets.values:
            column = self.sets.column("direction")
            labels[:, column] = self._after(labels[:, column], views.turns, views.mirrored)
        if CLASS in self.sets.values:
            facts = [i for i, name in enumerate(self.sets.values) if name != CLASS]
            cropped = torch.arange(len(pixels)) % 2 == 0
            labels[cropped.nonzero(), facts] = UNKNOWN
            whole = torch.where(cropped[:, None, None, None], views.images, whole)
        return {"pixel_values": whole, "labels": labels}

    def _after(self, directions: torch.Tensor, turns: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        known = directions != UNKNOWN
        after = self._turned[mirrored.long(), turns, directions.clamp(min=0)]
        return torch.where(known, after, directions)


def _turned_directions() -> list[list[list[int]]]:
    """Index of a direction after [mirrored][quarter turns]."""
    return [
        [
            [
                DIRECTIONS.index(direction_at(turned_angle(45 * i, k, mirrored)))
                for i in range(len(DIRECTIONS))
            ]
            for k in range(4)
        ]
        for mirrored in (False, True)
    ]


def learn_labels(
    vision: VisionConfig,
    sets: LabelSets,
    pixels: Pixels,
    training: Sequence[int],
    validation: Sequence[int],
    stage: LabelsStage,
    seed: int,
    folder: Path,
    precision: Precision,
    progress: Progress,
) -> tuple[LabelledVision, Curve]:
    """An eye that tells the labels of ``training``, the checkpoint that does best on ``validation``."""
    torch.manual_seed(seed)
    config = VisionConfig.from_dict(vision.to_dict() | {"labels": sets.values})
    model = LabelledVision(config)
    curve = fit(
        Stage("learning labels", stage.batch, stage.learning_rate, "cosine", weight_decay=0.05),
        model,
        Order(training, stage.epochs, seed),
        Plain(validation),
        LabelBatches(pixels, sets),
        folder,
        precision,
        progress,
    )
    return model, curve
