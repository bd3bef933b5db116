"""Intervals that know that images of one specimen are not independent.

Every metric is a function of sums over samples. Whole groups (specimen, series, paper) are drawn with
replacement and their sums added up: the cluster bootstrap (Davison and Hinkley, "Bootstrap Methods and their
Application", 1997, section 3.8; Field and Welsh, J. R. Statist. Soc. B 69, 2007,
doi:10.1111/j.1467-9868.2007.00593.x). With few groups its intervals are too narrow (Cameron, Gelbach and
Miller, Rev. Econ. Stat. 90, 2008, doi:10.1162/rest.90.3.414), and where all groups are alike it has no width;
another method then takes its place, and ``Interval.method`` says which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from micrographia.records import Score

FloatArray = NDArray[np.float64]
Statistic = Callable[[FloatArray], FloatArray]
"""A metric from sums: (..., column) -> (...)."""

RESAMPLES = 2000
FEW_GROUPS = 30
"""Below this many groups the bootstrap is not used."""

_LEVEL = 0.95
_TAILS = np.array([(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
_CHUNK_DRAWS = 1 << 20
_ALIKE = 1e-12


class Interval(NamedTuple):
    """A figure with its 95 % interval, over how many samples in how many groups, and how it was made."""

    value: float
    low: float
    high: float
    n: int
    groups: int
    method: str

    def score(self, task: str, metric: str, system: str, unscored: int = 0) -> Score:
        """As a row of the score table."""
        return Score(
            task=task,
            metric=metric,
            system=system,
            value=self.value,
            low=self.low,
            high=self.high,
            n=self.n,
            groups=self.groups,
            unscored=unscored,
            interval=self.method,
        )


def ratio(sums: FloatArray) -> FloatArray:
    """First column over second: the mean of values whose rows are (value, 1). 0 where the second is 0."""
    above, below = sums[..., 0], sums[..., 1]
    return np.divide(above, below, out=np.zeros_like(below), where=below > 0)


def mean(values: ArrayLike, groups: Sequence[str], seed: int = 0) -> Interval:
    """Mean of per-sample values in [0, 1], with an interval clustered by group."""
    column = np.asarray(values, dtype=np.float64)
    return corpus(np.column_stack([column, np.ones_like(column)]), groups, ratio, seed=seed)


def corpus(
    rows: ArrayLike,
    groups: Sequence[str],
    statistic: Statistic,
    bounds: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
) -> Interval:
    """A corpus metric from per-sample rows (sample, column), with an interval clustered by group.

    From ``FEW_GROUPS`` groups on: BCa cluster bootstrap (Efron, J. Am. Stat. Assoc. 82, 1987,
    doi:10.1080/01621459.1987.10478410) of ``RESAMPLES`` resamples. Below: delete-one-group jackknife variance
    with Student's t on groups - 1 degrees of freedom (Rust and Rao, Stat. Methods Med. Res. 5, 1996,
    doi:10.1177/096228029600500305), cut to ``bounds``. Where no group changes the figure when it is left out,
    another that would is rarer than one in so many (Clopper-Pearson), and may be anything within ``bounds``.
    One group tells nothing of others: the interval is ``bounds``.

    Raises ValueError where there is no sample, or a number of groups other than of samples.
    """
    sums = _group_sums(rows, groups)
    n, value = len(groups), float(statistic(sums.sum(axis=0)))
    if len(sums) == 1:
        low, high = bounds
        method = "one group: the whole range"
    elif np.ptp(_left_out(sums, statistic)) < _ALIKE:
        low, high = _interval_of_alike(len(sums), value, bounds)
        method = "all groups alike: Clopper-Pearson on groups"
    elif len(sums) < FEW_GROUPS:
        low, high = _student_interval(sums, statistic, value, bounds)
        method = "delete-one-group jackknife, Student's t"
    else:
        low, high = _bca_interval(sums, statistic, value, seed)
        method = f"BCa cluster bootstrap, {RESAMPLES} resamples"
    return Interval(value, min(low, value), max(high, value), n, len(sums), method)


def proportion(
    right: ArrayLike, groups: Sequence[str], asked: ArrayLike | None = None, seed: int = 0
) -> Interval:
    """Share that is right, with an interval clustered by group.

    A sample is right or not; or, with ``asked``, it holds that many questions of which so many are right.
    Samples that were asked nothing are left out. With few groups, or where all or none are right: the exact
    interval (Clopper and Pearson, Biometrika 26, 1934, doi:10.1093/biomet/26.4.404) for the effective number
    of questions (``effective_samples``).
    """
    hits = np.asarray(right, dtype=np.float64)
    rows = np.column_stack([hits, np.ones_like(hits) if asked is None else asked])
    kept = rows[:, 1] > 0
    rows, groups = rows[kept], [name for name, keep in zip(groups, kept, strict=True) if keep]
    by_bootstrap = corpus(rows, groups, ratio, seed=seed)
    share = by_bootstrap.value
    if by_bootstrap.groups >= FEW_GROUPS and 0 < share < 1:
        return by_bootstrap
    n = effective_samples(rows, groups)
    low = float(stats.beta.ppf(_TAILS[0], share * n, (1 - share) * n + 1)) if share > 0 else 0.0
    high = float(stats.beta.ppf(_TAILS[1], share * n + 1, (1 - share) * n)) if share < 1 else 1.0
    return by_bootstrap._replace(low=low, high=high, method="Clopper-Pearson on effective samples")


def effective_samples(rows: ArrayLike, groups: Sequence[str]) -> float:
    """How many independent questions tell as much as these; ``rows`` (sample, 2) are right and asked.

    Binomial variance over the clustered one, times the squared ratio of Student's t for questions and for
    groups: Korn and Graubard, Survey Methodology 24, 193-201, 1998. Never more than were asked. Where all are
    right or none the clustering cannot be seen, and every group counts as one question.
    """
    sums = _group_sums(rows, groups)
    right, asked = sums.sum(axis=0)
    share, variance = right / asked, jackknife_variance(sums, ratio)
    if share in (0, 1) or variance == 0 or len(sums) == 1:
        return float(len(sums))
    t_ratio = stats.t.ppf(_TAILS[1], asked - 1) / stats.t.ppf(_TAILS[1], len(sums) - 1)
    return float(min(asked, share * (1 - share) / variance * t_ratio**2))


def paired_difference(
    rows: ArrayLike, other_rows: ArrayLike, groups: Sequence[str], statistic: Statistic, seed: int = 0
) -> Interval:
    """A metric of one system minus that of another on the same samples, with an interval clustered by group.

    Both systems are resampled together: their errors on one image, and on one specimen, go together, and the
    difference is known better than from two separate intervals. Both metrics lie in [0, 1].
    """
    first, second = (np.asarray(r, dtype=np.float64) for r in (rows, other_rows))
    columns = first.shape[1]

    def difference(sums: FloatArray) -> FloatArray:
        return statistic(sums[..., :columns]) - statistic(sums[..., columns:])

    return corpus(np.hstack([first, second]), groups, difference, bounds=(-1.0, 1.0), seed=seed)


def jackknife_variance(sums: FloatArray, statistic: Statistic) -> float:
    """Variance of a metric by leaving out one group at a time; ``sums`` is (group, column)."""
    return float((len(sums) - 1) * np.var(_left_out(sums, statistic)))


def _left_out(sums: FloatArray, statistic: Statistic) -> FloatArray:
    """The metric without each of the groups in turn."""
    return statistic(sums.sum(axis=0) - sums)


def _group_sums(rows: ArrayLike, groups: Sequence[str]) -> FloatArray:
    """Sums over the samples of each group: (sample, column) -> (group, column), groups in sorted order."""
    table = np.asarray(rows, dtype=np.float64)
    if len(table) != len(groups):
        raise ValueError(f"{len(table)} samples but {len(groups)} group names")
    if not len(table):
        raise ValueError("no sample to score")
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((len(names), table.shape[1]))
    np.add.at(sums, index, table)
    return sums


def _student_interval(
    sums: FloatArray, statistic: Statistic, value: float, bounds: tuple[float, float]
) -> tuple[float, float]:
    half = stats.t.ppf(_TAILS[1], len(sums) - 1) * np.sqrt(jackknife_variance(sums, statistic))
    return max(bounds[0], value - float(half)), min(bounds[1], value + float(half))


def _interval_of_alike(groups: int, value: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """None of so many groups is another: at most this share of all groups is, and at either bound."""
    others = 1 - _TAILS[0] ** (1 / groups)
    return value - others * (value - bounds[0]), value + others * (bounds[1] - value)


def _bca_interval(sums: FloatArray, statistic: Statistic, value: float, seed: int) -> tuple[float, float]:
    resampled = _resample(sums, statistic, seed)
    left_out = _left_out(sums, statistic)
    deviation = left_out.mean() - left_out
    acceleration = (deviation**3).sum() / (6 * (deviation**2).sum() ** 1.5)
    below = ((resampled < value).mean() + (resampled <= value).mean()) / 2
    bias = stats.norm.ppf(np.clip(below, 0.5 / RESAMPLES, 1 - 0.5 / RESAMPLES))
    shifted = bias + stats.norm.ppf(_TAILS)
    low, high = np.quantile(resampled, stats.norm.cdf(bias + shifted / (1 - acceleration * shifted)))
    return float(low), float(high)


def _resample(sums: FloatArray, statistic: Statistic, seed: int) -> FloatArray:
    """The metric of ``RESAMPLES`` draws of as many groups as there are, with replacement."""
    rng, groups = np.random.default_rng(seed), len(sums)
    rounds = max(1, _CHUNK_DRAWS // groups)
    values = []
    for start in range(0, RESAMPLES, rounds):
        size = min(rounds, RESAMPLES - start)
        drawn = rng.integers(0, groups, (size, groups)) + groups * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * groups).reshape(size, groups)
        values.append(statistic(times.astype(np.float64) @ sums))
    return np.concatenate(values)
