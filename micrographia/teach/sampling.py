"""Demonstrations: which training images, with their labels, stand before a question about another image.

The most similar ones, by the cosine between embeddings of the vision encoder, as MAEMI chooses them for
few-shot classification; found exactly and not approximately.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


class Similar(NamedTuple):
    """For each query the rows of the pool that are most like it, most similar first, and their cosines."""

    rows: NDArray[np.int64]
    """(query, k)."""
    cosines: FloatArray
    """(query, k)."""


def most_similar(
    pool: FloatArray,
    queries: FloatArray,
    k: int,
    pool_groups: Sequence[int] | None = None,
    query_groups: Sequence[int] | None = None,
) -> Similar:
    """The ``k`` rows of ``pool`` (image, d) nearest to each of ``queries`` (query, d) by cosine.

    With groups, no image of the query's own group is taken: of a training image its own specimen, itself
    first of all, would tell more than a test image is ever told. Ties go to the lower row. Raises ValueError
    where the pool has fewer than ``k`` images of other groups, or an embedding has no direction (zero,
    infinite or not a number).
    """
    directions, asked = _directions(pool), _directions(queries)
    own = max(Counter(pool_groups).values()) if pool_groups is not None else 0
    index = faiss.IndexFlatIP(directions.shape[1])
    index.add(directions)
    cosines, rows = index.search(asked, min(k + own, len(directions)))
    others = np.ones(rows.shape, bool)
    if pool_groups is not None and query_groups is not None:
        others = np.asarray(pool_groups)[rows] != np.asarray(query_groups)[:, None]
    if others.sum(axis=1).min(initial=k) < k:
        raise ValueError(f"there are fewer than {k} images of other groups to show")
    first = np.argsort(~others, axis=1, kind="stable")[:, :k]
    return Similar(np.take_along_axis(rows, first, 1), np.take_along_axis(cosines, first, 1))


def _directions(embeddings: FloatArray) -> FloatArray:
    vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
    if len(bad):
        raise ValueError(
            f"embedding {bad[0]} has length {lengths[bad[0], 0]}: it has no direction to compare"
        )
    return np.asarray(vectors / lengths, dtype=np.float32)
