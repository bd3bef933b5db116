"""What a student must beat: the commonest class, the nearest training image, and itself when blind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import faiss
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Ranking = tuple[tuple[str, float], ...]


def commonest(training: Sequence[str]) -> Ranking:
    """What training holds most of: classes, or answers to one question, with shares that sum to 1.

    Best first, ties in alphabetical order; the same for every test image. Raises ValueError where training
    holds nothing.
    """
    if not training:
        raise ValueError("the commonest of nothing: training holds no class or answer")
    counts = sorted(Counter(training).items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple((value, count / len(training)) for value, count in counts)


def nearest(training: FloatArray, test: FloatArray, k: int) -> tuple[NDArray[np.int64], FloatArray]:
    """The ``k`` nearest training embeddings by cosine, exactly (faiss): indices and cosines, both (test, k).

    Embeddings are (image, dimension); fewer than ``k`` training images give as many columns as there are.
    Raises ValueError where an embedding has no direction (zero, infinite or not a number).
    """
    directions, queries = _directions(training), _directions(test)
    index = faiss.IndexFlatIP(directions.shape[1])
    index.add(directions)
    cosines, rows = index.search(queries, min(k, len(directions)))
    return rows, cosines


def nearest_classes(training: FloatArray, labels: Sequence[str], test: FloatArray) -> list[tuple[str, ...]]:
    """For each test image, the classes in the order of their nearest training image.

    The first is the class of the nearest neighbour.
    """
    rows, _ = nearest(training, test, k=len(training))
    return [tuple(dict.fromkeys(labels[i] for i in row)) for row in rows]


def nearest_answers(training: FloatArray, answers: Sequence[str | None], test: FloatArray) -> list[str]:
    """For each test image, the answer of the nearest training image that has one to this question.

    Raises ValueError where no training image has an answer.
    """
    answered = [index for index, answer in enumerate(answers) if answer is not None]
    if not answered:
        raise ValueError("no training image has an answer to this question")
    rows, _ = nearest(training[answered], test, k=1)
    return [str(answers[answered[row[0]]]) for row in rows]


def noise_image(shape: tuple[int, ...], seed: int) -> NDArray[np.uint8]:
    """An image of uniform noise, (rows, columns) or (rows, columns, channels), for the blind student."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _directions(embeddings: FloatArray) -> FloatArray:
    vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
    if len(bad):
        raise ValueError(
            f"embedding {bad[0]} has length {lengths[bad[0], 0]}: it has no direction to compare"
        )
    return np.asarray(vectors / lengths, dtype=np.float32)
