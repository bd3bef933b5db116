"""What is kept of each fold, and figures worked out from the samples of all folds together.

Intervals of single folds are never averaged: the samples of all of them are pooled, then resampled by group.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Literal

from micrographia.records import Record

if TYPE_CHECKING:
    from micrographia.evaluate.statistics import Interval

NEAREST, MAJORITY = "nearest neighbour", "majority"
Figures = dict[str, float | int | str]


class Choice(Record):
    """The class of one test image, as the student named it."""

    label: str
    group: str
    right: bool
    shown_right: bool | None = None
    """The same with the most similar labelled training images shown before; nothing: none were."""


class Reply(Record):
    """One answer of the student in words: what BLEU, ROUGE-L and the share of right facts are summed from."""

    task: str
    label: str
    group: str
    bleu: tuple[float, ...]
    """As ``micrographia.evaluate.metrics.text.TextScores.bleu``."""
    rouge_l: float
    facts: tuple[int, int]
    """Right, and on record."""
    blind_facts: tuple[int, int]
    """The same of the student that was shown noise."""


class Baseline(Record):
    """How many classes a baseline named rightly, of how many."""

    right: int
    asked: int


class FoldResult(Record):
    """All samples of one fold, and what they cost."""

    division: str
    number: int
    made_from: str
    images: dict[str, int]
    """By part."""
    minutes: float
    """Of tune and evaluate."""
    peak_memory_gib: float
    threads: int
    baselines: dict[str, Baseline]
    choices: tuple[Choice, ...]
    replies: tuple[Reply, ...]


class Taught(Record):
    """What ingest and teach cost."""

    made_from: str
    minutes: float
    peak_memory_gib: float


def division_figures(
    division: str, results: Sequence[FoldResult], by: Literal["group", "label"] = "group"
) -> Figures:
    """Top-1 of one division and of its baselines, over all its folds; keys end with its name."""
    from micrographia.evaluate.statistics import proportion

    here, name = [r for r in results if r.division == division], division.replace("-", "_")
    if not here:
        return {}
    every = [choice for result in here for choice in result.choices]
    groups = [choice.group if by == "group" else choice.label for choice in every]
    figures = flat(f"top1_{name}", proportion([choice.right for choice in every], groups))
    for system in (NEAREST, MAJORITY):
        counts = [result.baselines[system] for result in here]
        share = sum(c.right for c in counts) / sum(c.asked for c in counts)
        figures[f"{system.replace(' ', '_')}_{name}"] = round(share, 4)
    return figures | {f"images_{name}": len(every), f"folds_{name}": len(here)}


def few_shot_figures(division: str, results: Sequence[FoldResult]) -> Figures:
    """Top-1 of one division with examples shown, and its difference to showing none."""
    from micrographia.evaluate.statistics import paired_difference, proportion, ratio

    every = [c for r in results if r.division == division for c in r.choices if c.shown_right is not None]
    if not every:
        return {}
    groups = [choice.group for choice in every]
    shown, zero = ([(float(c.shown_right or 0), 1.0) for c in every], [(float(c.right), 1.0) for c in every])
    return flat("top1_shown", proportion([right for right, _ in shown], groups)) | flat(
        "shown_difference", paired_difference(shown, zero, groups, ratio)
    )


def text_figures(division: str, task: str, results: Sequence[FoldResult], suffix: str = "") -> Figures:
    """Words and facts of one division's answers to one task, and how far the image was needed for them."""
    from micrographia.evaluate.metrics.text import bleu
    from micrographia.evaluate.statistics import corpus, mean, paired_difference, proportion, ratio

    every = [r for result in results if result.division == division for r in result.replies if r.task == task]
    if not every:
        return {}
    groups = [reply.group for reply in every]
    intervals = {
        "bleu4": corpus([reply.bleu for reply in every], groups, partial(bleu, order=4)),
        "rouge_l": mean([reply.rouge_l for reply in every], groups),
    }
    # An answer without a fact on record tells nothing of either student: its group is not one more.
    if factual := [reply for reply in every if reply.facts[1]]:
        groups = [reply.group for reply in factual]
        facts, blind = [reply.facts for reply in factual], [reply.blind_facts for reply in factual]
        asked = [reply.facts[1] for reply in factual]
        intervals |= {
            "fact_accuracy": proportion([right for right, _ in facts], groups, asked=asked),
            "blind_fact_accuracy": proportion([right for right, _ in blind], groups, asked=asked),
            "blind_difference": paired_difference(facts, blind, groups, ratio),
        }
    figures: Figures = {}
    for name, interval in intervals.items():
        figures |= flat(f"{name}{suffix}", interval)
    return figures | {f"answers{suffix}": len(every)}


def cost_figures(division: str, results: Sequence[FoldResult], taught: Taught) -> Figures:
    """Minutes of one division's folds, and the most memory that any process took."""
    memory = [taught.peak_memory_gib, *(result.peak_memory_gib for result in results)]
    minutes = [result.minutes for result in results if result.division == division]
    figures: Figures = {"minutes_ingest_teach": round(taught.minutes, 2)}
    if minutes:
        figures |= {
            "minutes_per_fold": round(sum(minutes) / len(minutes), 2),
            "minutes_per_fold_max": round(max(minutes), 2),
        }
    threads = max((result.threads for result in results), default=0)
    date = datetime.now().astimezone().isoformat(timespec="seconds")
    return figures | {"peak_memory_gib": round(max(memory), 2), "threads": threads, "date": date}


def flat(name: str, interval: Interval) -> Figures:
    """A figure and the ends of its 95 % interval."""
    ends = (("", interval.value), ("_low", interval.low), ("_high", interval.high))
    return {f"{name}{end}": round(value, 4) for end, value in ends}
