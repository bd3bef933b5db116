import numpy as np

from benchmarks import intervals


def test_independent_images_of_many_groups_are_covered_by_both():
    generator = np.random.default_rng(0)
    held = np.mean([intervals.study(0.8, 0.0, 60, generator) for _ in range(60)], axis=0)
    assert (held > 0.85).all()


def test_correlated_images_are_covered_by_ours_alone():
    generator = np.random.default_rng(0)
    ours, independent = np.mean([intervals.study(0.8, 0.6, 20, generator) for _ in range(60)], axis=0)
    assert ours > 0.85 > 0.7 > independent
