"""Are the facts right: what an answer states against what the record holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from micrographia.evaluate.metrics.words import words

Verdict = Literal["right", "wrong", "missing", "unsupported"]


class CheckedFact(NamedTuple):
    """One fact of an answer or of the record. ``unsupported``: stated, but the record says nothing of it."""

    subject: str
    stated: str | None
    recorded: str | None
    verdict: Verdict


def check_facts(stated: Mapping[str, str], record: Mapping[str, str]) -> tuple[CheckedFact, ...]:
    """Compare what an answer states with the record of that question, both subject -> value.

    The record's facts come first, in its order, then the unsupported ones. Values are equal where their words
    are (``metrics.words``), however a unit is encoded. Case matters only beside a number: MPa is not mPa.
    """
    recorded = tuple(
        CheckedFact(subject, stated.get(subject), value, _verdict(stated.get(subject), value))
        for subject, value in record.items()
    )
    extra = tuple(
        CheckedFact(subject, value, None, "unsupported")
        for subject, value in stated.items()
        if subject not in record
    )
    return recorded + extra


def fact_counts(checked: Sequence[Sequence[CheckedFact]]) -> NDArray[np.float64]:
    """Facts right and facts on record of each answer, (answer, 2): their proportion is fact accuracy.

    A missing fact counts as wrong; an unsupported one does not count (see ``unsupported_counts``).
    """
    return np.array(
        [
            (sum(f.verdict == "right" for f in facts), sum(f.recorded is not None for f in facts))
            for facts in checked
        ],
        dtype=np.float64,
    ).reshape(len(checked), 2)


def unsupported_counts(checked: Sequence[Sequence[CheckedFact]]) -> NDArray[np.float64]:
    """Facts unsupported and facts stated of each answer, (answer, 2)."""
    return np.array(
        [
            (sum(f.verdict == "unsupported" for f in facts), sum(f.stated is not None for f in facts))
            for facts in checked
        ],
        dtype=np.float64,
    ).reshape(len(checked), 2)


def _verdict(stated: str | None, recorded: str) -> Verdict:
    if stated is None:
        return "missing"
    return "right" if _same(stated, recorded) else "wrong"


def _same(one: str, other: str) -> bool:
    numeric = any(character.isdigit() for character in one)
    return one == other or (words(one, numeric) == words(other, numeric) != ())
