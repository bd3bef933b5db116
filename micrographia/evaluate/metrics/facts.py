"""Are the facts right: what an answer states against what the record holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from micrographia.evaluate.metrics.words import words

Verdict = Literal["right", "wrong", "missing"]


class CheckedFact(NamedTuple):
    """One fact on record, and what an answer states of it. ``missing``: nothing."""

    subject: str
    stated: str | None
    recorded: str
    verdict: Verdict


def check_facts(stated: Mapping[str, str], record: Mapping[str, str]) -> tuple[CheckedFact, ...]:
    """Compare what an answer states with the record of that question, both subject -> value.

    The record's facts, in its order; what is stated beyond them is not judged. Values are equal where their
    words are (``metrics.words``), however a unit is encoded. Case matters only beside a number: MPa is not
    mPa.
    """
    return tuple(
        CheckedFact(subject, stated.get(subject), value, _verdict(stated.get(subject), value))
        for subject, value in record.items()
    )


def fact_counts(checked: Sequence[Sequence[CheckedFact]]) -> NDArray[np.float64]:
    """Facts right and facts on record of each answer, (answer, 2): their proportion is fact accuracy.

    A missing fact counts as wrong.
    """
    counts = [(sum(fact.verdict == "right" for fact in facts), len(facts)) for facts in checked]
    return np.array(counts, dtype=np.float64).reshape(len(checked), 2)


def _verdict(stated: str | None, recorded: str) -> Verdict:
    if stated is None:
        return "missing"
    return "right" if _same(stated, recorded) else "wrong"


def _same(one: str, other: str) -> bool:
    numeric = any(character.isdigit() for character in one)
    return one == other or (words(one, numeric) == words(other, numeric) != ())
