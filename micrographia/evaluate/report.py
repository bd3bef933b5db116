"""One HTML file that says how far to trust a student: tables, plots, and every test image with its answers.

It needs no network and no other file. Whatever a model said is shown as text and never becomes markup.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from micrographia import __version__
from micrographia.evaluate import table
from micrographia.evaluate.metrics.classification import confusion_matrix, per_class
from micrographia.evaluate.metrics.facts import CheckedFact
from micrographia.evaluate.plots import Curve, confusion_plot, curves_plot
from micrographia.records import Score

THUMBNAIL_PX = 224
_JPEG_QUALITY = 82


@dataclass(frozen=True)
class Exchange:
    """One question about an image, what the student answered, and what it could be compared with."""

    task: str
    question: str
    """The question's id within its set: what the gallery is filtered by."""
    prompt: str
    answer: str
    references: tuple[str, ...] = ()
    facts: tuple[CheckedFact, ...] = ()


@dataclass(frozen=True)
class Item:
    """One test image: its true class, the student's ranking of the classes, and what was asked."""

    id: str
    name: str
    thumbnail: bytes
    """JPEG, from ``thumbnail``."""
    group: str | None = None
    truth: str | None = None
    ranking: tuple[tuple[str, float], ...] = ()
    exchanges: tuple[Exchange, ...] = ()

    @property
    def predicted(self) -> str | None:
        """The class ranked first."""
        return self.ranking[0][0] if self.ranking else None


@dataclass(frozen=True)
class MeasuredImage:
    """One test image with what was measured on it."""

    name: str
    truth: str | None
    picture: bytes
    """PNG: the image with outlines and scale bar, and the histogram."""
    scale: str
    """Verdict and readings, in words."""
    numbers: tuple[tuple[str, str, str, str], ...]
    """Name, value, 95 % interval and n."""
    refused: tuple[tuple[str, str], ...]
    """What cannot be told, and the reason."""

    @property
    def source(self) -> str:
        """The picture as a data URL."""
        return f"data:image/png;base64,{base64.b64encode(self.picture).decode('ascii')}"


@dataclass(frozen=True)
class Report:
    """Everything the report shows. Per-class figures and the confusion matrix come from the items."""

    workspace: str
    student: str
    created: str
    """Date and time, as it shall be printed."""
    scores: tuple[Score, ...]
    classes: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()
    measured: tuple[MeasuredImage, ...] = ()
    curves: tuple[Curve, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    """How much there was of what: training images, test images, questions ..."""
    notes: tuple[str, ...] = ()
    """What a reader must know to compare figures: signatures, how the split was made ..."""


def thumbnail(image: NDArray[np.uint8]) -> bytes:
    """JPEG of an 8-bit image, (rows, columns) or (rows, columns, 3), no side over ``THUMBNAIL_PX``."""
    picture = Image.fromarray(image)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return buffer.getvalue()


def write(report: Report, path: Path) -> None:
    """Write the report as one HTML file; an older one is replaced only when the new one is complete."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(render(report), encoding="utf-8")
    partial.replace(path)


def render(report: Report) -> str:
    """The report as HTML."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        resources.files(__package__).joinpath("report.html").read_text("utf-8")
    )
    classified = [i for i in report.items if i.truth is not None and i.ranking]
    confusion = confusion_matrix(
        [str(i.truth) for i in classified], [i.predicted for i in classified], report.classes
    )
    return template.render(
        report=report,
        version=__version__,
        table=table,
        systems=table.systems(report.scores),
        tasks=_by_task(report.scores),
        methods=tuple(dict.fromkeys(s.interval for s in report.scores if s.interval)),
        class_rows=per_class(confusion, report.classes) if classified else (),
        confusion=Markup(confusion_plot(confusion, report.classes)) if classified else "",
        curves=Markup(curves_plot(report.curves)) if report.curves else "",
        items=[_as_data(item) for item in report.items],
    )


def _by_task(scores: Sequence[Score]) -> dict[str, list[tuple[str, dict[str, Score]]]]:
    """task -> [(metric, system -> score)]."""
    tasks: dict[str, list[tuple[str, dict[str, Score]]]] = {}
    for (task, metric), by_system in table.by_metric(scores).items():
        tasks.setdefault(task, []).append((metric, by_system))
    return tasks


def _as_data(item: Item) -> dict[str, Any]:
    """One item as the page's script reads it."""
    return {
        "id": item.id,
        "name": item.name,
        "group": item.group,
        "truth": item.truth,
        "ranking": item.ranking[:3],
        "jpeg": base64.b64encode(item.thumbnail).decode("ascii"),
        "exchanges": [
            {
                "task": e.task,
                "question": e.question,
                "prompt": e.prompt,
                "answer": e.answer,
                "references": e.references,
                "facts": [f._asdict() for f in e.facts],
            }
            for e in item.exchanges
        ],
    }
