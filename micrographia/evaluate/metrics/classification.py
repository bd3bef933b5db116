"""Is the class right: top-k, and precision, recall and F1 of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

NO_CLASS = "(no class)"
"""The column of a confusion matrix for answers that name none of the classes."""


def top_k(truth: Sequence[str], rankings: Sequence[Sequence[str]], k: int) -> NDArray[np.bool_]:
    """Whether the true class is among the first ``k`` of each ranking (best first); (sample,)."""
    return np.array([t in r[:k] for t, r in zip(truth, rankings, strict=True)], dtype=bool)


def confusion_matrix(
    truth: Sequence[str], predicted: Sequence[str | None], classes: Sequence[str]
) -> NDArray[np.int64]:
    """Counts of (true class, predicted class); the last column is for answers that name none of the classes.

    Shape (classes, classes + 1). Raises ValueError where a true class is not among ``classes``.
    """
    row = {name: index for index, name in enumerate(classes)}
    strange = sorted(set(truth) - row.keys())
    if strange:
        raise ValueError(f"true class {strange[0]!r} is not among the classes {list(classes)}")
    counts = np.zeros((len(classes), len(classes) + 1), dtype=np.int64)
    for true, answer in zip(truth, predicted, strict=True):
        counts[row[true], len(classes) if answer is None else row.get(answer, len(classes))] += 1
    return counts


class ClassScore(NamedTuple):
    """How one class fared. A figure is None where it would be 0/0: nothing predicted, or nothing to find."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    predicted: int


def per_class(confusion: NDArray[np.int64], classes: Sequence[str]) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 of each class from ``confusion_matrix``."""
    right = confusion.diagonal()
    support, predicted = confusion.sum(axis=1), confusion[:, :-1].sum(axis=0)
    return tuple(
        ClassScore(
            name,
            precision=_share(int(hit), int(said)),
            recall=_share(int(hit), int(true)),
            f1=_share(2 * int(hit), int(true) + int(said)),
            support=int(true),
            predicted=int(said),
        )
        for name, hit, true, said in zip(classes, right, support, predicted, strict=True)
    )


def class_counts(truth: Sequence[str], predicted: Sequence[str | None], classes: Sequence[str]) -> FloatArray:
    """One row a sample from whose sums ``macro_f1`` is worked out: (sample, 3 * classes).

    For each class: 1 where it is rightly named, 1 where it is the truth, 1 where it is named.
    """
    names = np.asarray(classes)
    true = np.asarray(truth)[:, None] == names
    said = np.array(["" if p is None else p for p in predicted])[:, None] == names
    return np.hstack([true & said, true, said]).astype(np.float64)


def macro_f1(sums: FloatArray) -> FloatArray:
    """Mean of the classes' F1 = 2 TP / (2 TP + FP + FN), from summed ``class_counts``; along the last axis.

    A class that is neither true nor named anywhere has no F1 and is left out of the mean. The mean of F1
    values, not the F1 of mean precision and recall (Opitz and Burst, arXiv:1911.03347).
    """
    right, true, said = np.split(sums, 3, axis=-1)
    whole = true + said
    f1 = np.divide(2 * right, whole, out=np.zeros_like(whole), where=whole > 0)
    return np.asarray(f1.sum(axis=-1) / np.maximum((whole > 0).sum(axis=-1), 1))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
