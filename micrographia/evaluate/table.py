"""The score table: one row a metric, one column a system, and never a bare mean."""

from __future__ import annotations

from collections.abc import Sequence

from micrographia.records import Score


def figure(score: Score) -> str:
    """Value and interval: "0.971 [0.950, 0.980]"."""
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def counts(score: Score) -> str:
    """What it was taken over: "n=215, 31 groups, 3 unscored"."""
    groups = f"{score.groups} group{'' if score.groups == 1 else 's'}"
    return f"n={score.n}, {groups}" + (f", {score.unscored} unscored" if score.unscored else "")


def systems(scores: Sequence[Score]) -> tuple[str, ...]:
    """The systems in the order in which they first come."""
    return tuple(dict.fromkeys(s.system for s in scores))


def by_metric(scores: Sequence[Score]) -> dict[tuple[str, str], dict[str, Score]]:
    """(task, metric) -> system -> score, in the order in which they first come."""
    table: dict[tuple[str, str], dict[str, Score]] = {}
    for score in scores:
        table.setdefault((score.task, score.metric), {})[score.system] = score
    return table
