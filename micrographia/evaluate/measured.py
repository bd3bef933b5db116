"""What was measured on a few test images, for the report: pictures with numbers, or why there is none."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from typing import NamedTuple

from micrographia import engine
from micrographia.engine import Progress
from micrographia.evaluate.report import MeasuredImage
from micrographia.measure.field import measure_field
from micrographia.measure.overlay import Drawing, drawn
from micrographia.micrographs.display import open_display
from micrographia.micrographs.field import field_of
from micrographia.micrographs.lengths import printed_quantity
from micrographia.micrographs.scale import scale_in_words
from micrographia.records import Measurement, Micrograph
from micrographia.workspace import Workspace

MOST = 6
"""Images: outlines take a second or two each."""
DOTS_PER_INCH = 80
"""Some 1,000 pixels across, so that the report stays small enough to be sent."""


class Examples(NamedTuple):
    """The images, and those that could not be measured, by name with the reason."""

    images: tuple[MeasuredImage, ...]
    left_out: tuple[str, ...]


def chosen(micrographs: Sequence[Micrograph], seed: int) -> list[Micrograph]:
    """MOST of them or all, drawn by ``seed``: one of each class before a second one of any."""
    draw = random.Random(seed)
    by_class: dict[str, list[Micrograph]] = defaultdict(list)
    for micrograph in sorted(micrographs, key=lambda m: m.id):
        by_class[micrograph.label or ""].append(micrograph)
    classes = [draw.sample(by_class[name], len(by_class[name])) for name in sorted(by_class)]
    draw.shuffle(classes)
    return [m for turn in zip_longest(*classes) for m in turn if m is not None][:MOST]


def measure_examples(workspace: Workspace, micrographs: Sequence[Micrograph], progress: Progress) -> Examples:
    """Each image measured and drawn."""
    progress.begin("measuring examples", len(micrographs), "images")
    done, left_out = [], []
    for outcome in engine.apply(partial(_measured, workspace), micrographs):
        if outcome.result is None:
            left_out.append(f"{outcome.item.name}: {outcome.reason}")
        else:
            done.append(outcome.result)
        progress.advance()
    progress.end()
    return Examples(tuple(done), tuple(left_out))


def _measured(workspace: Workspace, micrograph: Micrograph) -> MeasuredImage:
    image = open_display(workspace.objects, micrograph)
    field = field_of(image, micrograph.field, micrograph.burnt_in)
    found = measure_field(field, micrograph.scale.pixel_size_nm, burnt_in=micrograph.burnt_in)
    bar = workspace.catalog.acquisition(micrograph.id).bar
    return MeasuredImage(
        name=micrograph.name,
        truth=micrograph.label,
        picture=drawn(Drawing(image, found.outlined, bar, found.crossed), DOTS_PER_INCH),
        scale=scale_in_words(micrograph.scale),
        numbers=tuple(_numbers(found.measurements)),
        refused=_refused(found.measurements),
    )


def _numbers(measurements: Sequence[Measurement]) -> list[tuple[str, str, str, str]]:
    """Name, value, interval and n."""
    return [
        (m.name, *printed_quantity(m.quantity), "" if m.quantity.n is None else f"{m.quantity.n:,}")
        for m in measurements
        if m.quantity is not None
    ]


def _refused(measurements: Sequence[Measurement]) -> tuple[tuple[str, str], ...]:
    """What cannot be told, and why: what shares a reason stands together."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for measurement in measurements:
        if measurement.refused is not None:
            by_reason[measurement.refused].append(measurement.name)
    return tuple((", ".join(names), reason) for reason, names in by_reason.items())
