"""The first stage: the eye learns classes and facts as labels, before any words.

The labels are the claims of the teaching with a closed set of values: the class, and every level or
direction; where a level was read from a measured quantity, the eye learns the quantity. It so comes to the
second stage with all that the texts will speak of.
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
from micrographia.records import CLASS, Claim, Conversation
from micrographia.students.configuration import VisionConfig
from micrographia.students.losses import IGNORED
from micrographia.students.views import dihedral, random_views
from micrographia.students.vision import LabelledVision
from micrographia.teach.facts import DIRECTION
from micrographia.teach.levels import DIRECTIONS, LEVELS, direction_at, turned_angle
from micrographia.tune.fit import Curve, Stage, fit
from micrographia.tune.order import Draw, Order, Plain
from micrographia.tune.pixels import Pixels, some_at_a_time
from micrographia.tune.precision import Precision

UNKNOWN = IGNORED
"""The column's value where a micrograph has no label of a set; no loss falls on it."""

FEWEST = 5
"""A value that fewer training images have is not worth an output of its own."""


@dataclass(frozen=True)
class LabelSets:
    """``values`` of each set, sets in alphabetical order; ``table`` (n, sets) holds indices or UNKNOWN.

    Sets whose values are levels of a quantity have ``cuts`` between them, and ``amounts`` (n, sets with cuts;
    NaN is unknown): the quantity on its scale, in standard deviations of the training images.
    """

    values: dict[str, list[str]]
    table: NDArray[np.int64]
    cuts: dict[str, list[float]]
    amounts: NDArray[np.float32]

    def known(self, rows: Sequence[int]) -> bool:
        """Whether any image of ``rows`` has any label."""
        return bool((self.table[list(rows)] != UNKNOWN).any())

    def column(self, name: str) -> int:
        """Where a set stands in the table."""
        return list(self.values).index(name)


def facts_by_micrograph(conversations: Iterable[Conversation]) -> dict[str, dict[str, Claim]]:
    """What is claimed about each micrograph that its pixels show: one claim a subject."""
    facts: dict[str, dict[str, Claim]] = defaultdict(dict)
    for conversation in conversations:
        for claim in conversation.claims:
            if claim.seen:
                facts[conversation.micrographs[0]][claim.subject] = claim
    return dict(facts)


def label_sets(facts: Sequence[Mapping[str, Claim]], training: Sequence[int]) -> LabelSets:
    """The closed sets among ``facts`` (one mapping an image, in the order of the pixels).

    A set needs at least two values that each belong to ``FEWEST`` images of ``training``; a class of fewer
    images is kept, since the vocabulary of classes is the user's. Rarer values of other sets are UNKNOWN.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for image in training:
        for subject, claim in facts[image].items():
            counts[subject][claim.value] += 1
    values = {
        subject: sorted(v for v, n in counts[subject].items() if subject == CLASS or n >= FEWEST)
        for subject in sorted(counts)
    }
    if values.get(DIRECTION):
        values[DIRECTION] = list(DIRECTIONS)  # whole, so that every turned view has its value
    values = {subject: known for subject, known in values.items() if len(known) > 1}
    graded = {subject: found for subject in values if (found := _graded(subject, facts, training))}
    values |= {subject: list(LEVELS[subject].values) for subject in graded}
    index = {subject: {value: i for i, value in enumerate(known)} for subject, known in values.items()}
    told = [{subject: claim.value for subject, claim in image.items()} for image in facts]
    table = [[index[s].get(image.get(s, ""), UNKNOWN) for s in values] for image in told]
    amounts = np.stack([found[1] for found in graded.values()], 1) if graded else np.empty((len(facts), 0))
    return LabelSets(
        values,
        np.array(table, dtype=np.int64).reshape(len(facts), len(values)),
        {subject: found[0] for subject, found in graded.items()},
        amounts.astype(np.float32),
    )


def _graded(
    subject: str, facts: Sequence[Mapping[str, Claim]], training: Sequence[int]
) -> tuple[list[float], NDArray[np.float64]] | None:
    """Cuts and amounts (n,) of a subject whose claims rest on a quantity; None for any other."""
    quantities = [image[subject].quantity if subject in image else None for image in facts]
    if subject not in LEVELS or not any(quantities):
        return None
    thresholds = np.array(LEVELS[subject].thresholds)
    amounts = _on_scale(np.array([np.nan if q is None else q.value for q in quantities]), thresholds)
    mean, deviation = np.nanmean(amounts[training]), np.nanstd(amounts[training])
    cuts = (_on_scale(thresholds, thresholds) - mean) / deviation
    return cuts.tolist(), (amounts - mean) / deviation


def _on_scale(numbers: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers whose thresholds grow by more than double on a logarithmic scale that takes zero."""
    if thresholds[-1] <= 2 * thresholds[0]:
        return numbers
    return np.asarray(np.log(np.maximum(numbers, 0) + thresholds[0] / 2))


class LabelBatches:
    """Draws to batches of ``LabelledVision``: half of a training batch teaches the class from any crop,
    the other half class and facts from the whole image, since a crop may change a count or a texture."""

    def __init__(self, pixels: Pixels, sets: LabelSets) -> None:
        self.pixels = pixels
        self.sets = sets
        self._turned = torch.tensor(_turned_directions())

    def __call__(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """``pixel_values``, ``labels`` and ``amounts`` for the model."""
        rows = [draw.image for draw in draws]
        pixels = torch.from_numpy(self.pixels[rows].astype(np.float32))
        labels = torch.from_numpy(self.sets.table[rows])
        amounts = torch.from_numpy(self.sets.amounts[rows])
        seed = draws[0].seed
        if seed is None:
            return {"pixel_values": pixels, "labels": labels, "amounts": amounts}
        generator = torch.Generator().manual_seed(seed)
        return self._views(pixels, labels, amounts, generator)

    def _views(
        self, pixels: torch.Tensor, labels: torch.Tensor, amounts: torch.Tensor, generator: torch.Generator
    ) -> dict[str, Any]:
        views = random_views(pixels, generator)
        whole = dihedral(pixels, views.turns, views.mirrored)
        labels = labels.clone()
        if DIRECTION in self.sets.values:
            column = self.sets.column(DIRECTION)
            labels[:, column] = self._after(labels[:, column], views.turns, views.mirrored)
        if CLASS in self.sets.values:
            facts = [i for i, name in enumerate(self.sets.values) if name != CLASS]
            cropped = torch.arange(len(pixels)) % 2 == 0
            labels[cropped.nonzero(), facts] = UNKNOWN
            amounts = amounts.masked_fill(cropped[:, None], torch.nan)
            whole = torch.where(cropped[:, None, None, None], views.images, whole)
        return {"pixel_values": whole, "labels": labels, "amounts": amounts}

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


def finding(vision: VisionConfig, sets: LabelSets) -> VisionConfig:
    """The same eye, with findings for ``sets``."""
    return VisionConfig.from_dict(vision.to_dict() | {"labels": sets.values, "cuts": sets.cuts})


def learn_labels(
    vision: VisionConfig,
    sets: LabelSets,
    pixels: Pixels,
    training: Order,
    validation: Plain,
    stage: LabelsStage,
    folder: Path,
    precision: Precision,
    progress: Progress,
) -> tuple[LabelledVision, Curve]:
    """An eye that tells the labels of ``training``, the checkpoint that does best on ``validation``."""
    torch.manual_seed(training.seed)
    model = LabelledVision(finding(vision, sets))
    amounts = torch.from_numpy(sets.amounts[training.images])
    model.encoder.settle(some_at_a_time(pixels, training.images), amounts)
    curve = fit(
        Stage("learning labels", stage.batch, stage.learning_rate, shared=False),
        model,
        training,
        validation,
        LabelBatches(pixels, sets),
        folder,
        precision,
        progress,
    )
    return model, curve
