import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from micrographia.evaluate import statistics as s
from micrographia.evaluate.metrics import text

values = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 50)), min_size=1, max_size=120)
hits = st.lists(st.tuples(st.booleans(), st.integers(0, 50)), min_size=1, max_size=120)


def names(groups):
    return [f"specimen {g}" for g in groups]


def width(interval):
    return interval.high - interval.low


def clustered_hits(rng, groups, size, share=0.8, concentration=4.0):
    chance = rng.beta(share * concentration, (1 - share) * concentration, groups)
    return (rng.random((groups, size)) < chance[:, None]).ravel(), np.repeat(np.arange(groups), size)


@settings(max_examples=40)
@given(values)
def test_the_interval_holds_the_value_and_stays_in_range(pairs):
    numbers, groups = zip(*pairs, strict=True)
    interval = s.mean(numbers, names(groups))
    assert interval.value == pytest.approx(np.mean(numbers))
    assert -1e-9 <= interval.low <= interval.value <= interval.high <= 1 + 1e-9
    assert (interval.n, interval.groups) == (len(pairs), len(set(groups)))


@settings(max_examples=40)
@given(hits)
def test_a_proportion_holds_the_value_and_is_never_certain(pairs):
    right, groups = zip(*pairs, strict=True)
    interval = s.proportion(right, names(groups))
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert width(interval) > 0


@settings(max_examples=20)
@given(values, st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(pairs, random):
    shuffled = list(pairs)
    random.shuffle(shuffled)
    one, other = (s.mean([v for v, _ in p], names(g for _, g in p)) for p in (pairs, shuffled))
    assert one[:3] == pytest.approx(other[:3], abs=1e-6)
    assert one[3:] == other[3:]


@pytest.mark.parametrize("groups", [5, 60])
def test_alike_groups_are_not_certainty(groups):
    """One group more may be another, with a chance that so many groups leave open."""
    interval = s.mean(np.full(120, 0.7), names(np.arange(120) % groups))
    missed = 1 - 0.025 ** (1 / groups)
    assert interval[:3] == pytest.approx((0.7, 0.7 * (1 - missed), 0.7 + 0.3 * missed))
    assert "alike" in interval.method


def test_all_right_is_the_same_interval_for_every_metric():
    """Top-1 and macro F1 of the same perfect answers do not promise different things."""
    right, groups = np.ones(24), names(np.arange(24) % 16)
    assert s.mean(right, groups)[:3] == pytest.approx(s.proportion(right, groups)[:3])
    same = s.paired_difference(*[np.column_stack([right, right])] * 2, groups, s.ratio)
    assert (same.low, same.high) == pytest.approx((-1 + 0.025 ** (1 / 16), 1 - 0.025 ** (1 / 16)))


def test_groups_of_one_are_the_ordinary_bootstrap():
    sample = np.random.default_rng(3).beta(2, 1, 150)
    interval = s.mean(sample, names(range(150)))
    ordinary = stats.bootstrap(
        (sample,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    assert interval.method.startswith("BCa")
    assert (interval.low, interval.high) == pytest.approx(ordinary, abs=0.1 * width(interval))


def test_repeating_every_sample_within_its_group_tells_nothing_new():
    """Intra-cluster correlation 1: the interval is that of the groups, far wider than that of the samples."""
    sample = np.random.default_rng(4).random(60)
    groups = names(range(60))
    once, repeated = s.mean(sample, groups), s.mean(np.repeat(sample, 20), np.repeat(groups, 20))
    assert repeated[:3] == pytest.approx(once[:3])
    ungrouped = s.mean(np.repeat(sample, 20), names(range(1200)))
    assert width(repeated) > 3 * width(ungrouped)


def test_a_proportion_of_identical_samples_in_few_groups_is_that_of_the_groups():
    right = np.array([1, 1, 0, 1, 1, 0, 1, 1], dtype=float)
    interval = s.proportion(np.repeat(right, 50), np.repeat(names(range(8)), 50))
    ungrouped = s.proportion(np.repeat(right, 50), names(range(400)))
    assert "Clopper-Pearson" in interval.method
    assert width(interval) > 4 * width(ungrouped)


def test_effective_samples_by_hand():
    """Eight groups of 50 equal answers, six right: variance p (1 - p) / 7, so 7 samples, less for t."""
    right = np.repeat([1.0, 1, 0, 1, 1, 0, 1, 1], 50)
    rows = np.column_stack([right, np.ones(400)])
    t_ratio = stats.t.ppf(0.975, 399) / stats.t.ppf(0.975, 7)
    assert s.effective_samples(rows, np.repeat(names(range(8)), 50)) == pytest.approx(7 * t_ratio**2)


def test_effective_samples_are_never_more_than_were_asked():
    right = np.tile([1.0, 1, 0, 1], 10)
    rows = np.column_stack([right, np.ones(40)])
    rows[0, 0] = 0
    assert s.effective_samples(rows, names(np.arange(40) // 4)) == 40


@pytest.mark.parametrize("groups", [4, 40])
def test_all_right_is_as_sure_as_the_groups_are_many(groups):
    """Every group counts as one sample: the exact lower limit is alpha/2 to the power 1/groups."""
    interval = s.proportion(np.ones(400), names(np.arange(400) % groups))
    assert interval.value == interval.high == 1
    assert interval.low == pytest.approx(0.025 ** (1 / groups))


@pytest.mark.parametrize("groups", [6, 60])
def test_several_questions_a_sample_weigh_by_their_number(groups):
    rng = np.random.default_rng(12)
    asked = rng.integers(0, 4, 240)
    right = rng.binomial(asked, 0.8)
    group = names(np.arange(240) % groups)
    interval = s.proportion(right, group, asked)
    assert interval.value == pytest.approx(right.sum() / asked.sum())
    assert interval.n == (asked > 0).sum()
    one_by_one = [
        (hit, g) for a, r, g in zip(asked, right, group, strict=True) for hit in [1] * r + [0] * (a - r)
    ]
    flat = s.proportion(*zip(*one_by_one, strict=True))
    assert interval[:3] == pytest.approx(flat[:3], abs=1e-9)


def test_one_group_tells_nothing_of_others():
    assert s.mean([0.4, 0.6], ["a", "a"])[:3] == (0.5, 0, 1)
    assert s.proportion([True, True], ["a", "a"]).low == pytest.approx(0.025)


@pytest.mark.parametrize("groups", [8, 50])
def test_intervals_cover_the_truth_as_often_as_they_say(groups, monkeypatch):
    monkeypatch.setattr(s, "RESAMPLES", 500)
    rng = np.random.default_rng(6)
    covered, covered_if_ungrouped = [], []
    for _ in range(150):
        right, group = clustered_hits(rng, groups, size=10)
        for seen, grouping in ((covered, group), (covered_if_ungrouped, range(len(right)))):
            interval = s.proportion(right, names(grouping))
            seen.append(interval.low <= 0.8 <= interval.high)
    assert np.mean(covered) > 0.9
    assert np.mean(covered_if_ungrouped) < 0.85


def test_a_corpus_metric_is_resampled_from_its_sums():
    """The spread of BLEU over resampled sums is that of BLEU worked out anew from each drawn corpus."""
    rng = np.random.default_rng(7)
    vocabulary = np.array(["pores", "of", "the", "surface", "fibres", "3.5", "nm"])
    answers = [" ".join(rng.choice(vocabulary, 8)) for _ in range(60)]
    references = [[" ".join(rng.choice(vocabulary, 8)) for _ in range(4)] for _ in range(60)]
    rows = text.score_texts(answers, references).bleu
    interval = s.corpus(rows, names(range(60)), lambda sums: text.bleu(sums, 2))
    scorer = sacrebleu.BLEU(tokenize="none", smooth_method="none", force=True, max_ngram_order=2)
    direct = []
    for _ in range(300):
        drawn = rng.integers(0, 60, 60)
        wordings = zip(*(references[i] for i in drawn), strict=True)
        direct.append(scorer.corpus_score([answers[i] for i in drawn], list(wordings)).score / 100)
    low, high = np.quantile(direct, [0.025, 0.975])
    assert width(interval) == pytest.approx(high - low, rel=0.2)
    assert interval.value == pytest.approx(float(text.bleu(rows.sum(axis=0), 2)))


def test_a_paired_difference_is_known_better_than_two_intervals():
    rng = np.random.default_rng(8)
    difficulty = rng.random(400)
    groups = names(np.arange(400) // 5)
    first, second = (np.column_stack([difficulty < share, np.ones(400)]) for share in (0.80, 0.74))
    difference = s.paired_difference(first, second, groups, s.ratio)
    assert difference.value == pytest.approx(np.mean(first[:, 0] - second[:, 0]))
    assert difference.low > 0
    separate = [s.mean(rows[:, 0], groups) for rows in (first, second)]
    assert width(difference) < 0.6 * np.hypot(*map(width, separate))
    assert separate[0].low < separate[1].high


def test_a_system_does_not_differ_from_itself():
    rows = np.column_stack([np.random.default_rng(9).random(80), np.ones(80)])
    difference = s.paired_difference(rows, rows, names(range(80)), s.ratio)
    assert difference[:3] == pytest.approx((0, -1 + 0.025 ** (1 / 80), 1 - 0.025 ** (1 / 80)))


def test_swapping_the_systems_turns_the_sign():
    rng = np.random.default_rng(10)
    first, second = (np.column_stack([rng.random(20), np.ones(20)]) for _ in range(2))
    one = s.paired_difference(first, second, names(range(20)), s.ratio)
    other = s.paired_difference(second, first, names(range(20)), s.ratio)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))


def test_the_same_seed_gives_the_same_interval():
    sample = np.random.default_rng(11).random(90)
    one, again, other = (s.mean(sample, names(range(90)), seed=seed) for seed in (1, 1, 2))
    assert one == again != other


def test_a_score_carries_all_of_its_interval():
    interval = s.proportion([True, False, True], ["a", "b", "c"])
    score = interval.score("category", "top-1", "student", unscored=2)
    assert (score.value, score.low, score.high) == interval[:3]
    assert (score.n, score.groups, score.unscored) == (3, 3, 2)
    assert score.interval == interval.method


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="no sample"):
        s.mean([], [])
    with pytest.raises(ValueError, match="2 samples but 1 group"):
        s.mean([0.1, 0.2], ["a"])
