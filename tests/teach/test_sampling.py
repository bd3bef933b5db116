"""Demonstrations are the most similar images of other groups, exactly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micrographia.teach.sampling import most_similar


def cloud(count, d=6, seed=0):
    return np.random.default_rng(seed).normal(size=(count, d)).astype(np.float32)


def cosines_by_hand(pool, queries):
    pool, queries = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (pool, queries))
    return queries @ pool.T


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 9))
def test_they_are_the_nearest_by_cosine_whatever_the_lengths(count, k, seed):
    pool = cloud(count, seed=seed) * np.random.default_rng(seed).uniform(0.1, 10, (count, 1))
    queries = cloud(5, seed=seed + 100)
    k = min(k, count)
    found = most_similar(pool, queries, k)
    expected = cosines_by_hand(pool, queries)
    order = np.argsort(-expected, axis=1)[:, :k]
    np.testing.assert_allclose(found.cosines, np.take_along_axis(expected, order, 1), atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(expected, found.rows, 1), found.cosines, atol=1e-5)


@given(st.integers(1, 5), st.integers(0, 9))
def test_nothing_of_the_own_group_is_shown(k, seed):
    pool = cloud(30, seed=seed)
    groups = np.random.default_rng(seed).integers(0, 5, 30).tolist()
    found = most_similar(pool, pool, k, groups, groups)
    by_hand = cosines_by_hand(pool, pool)
    for query, rows in enumerate(found.rows):
        assert all(groups[row] != groups[query] for row in rows)
        others = [c for row, c in enumerate(by_hand[query]) if groups[row] != groups[query]]
        np.testing.assert_allclose(found.cosines[query], sorted(others, reverse=True)[:k], atol=1e-5)


def test_a_pool_without_enough_others_is_refused():
    with pytest.raises(ValueError, match="fewer than 3 images of other groups"):
        most_similar(cloud(6), cloud(1), 3, [0, 0, 0, 0, 1, 1], [0])


def test_an_embedding_without_a_direction_is_refused():
    with pytest.raises(ValueError, match="embedding 1 has length 0"):
        most_similar(cloud(2) * [[1], [0]], cloud(1), 1)
