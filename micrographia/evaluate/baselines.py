"""What a student must beat: the commonest class, the nearest training image, and itself when blind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from micrographia.assistant.assistant import Ranking
from micrographia.teach.sampling import FloatArray, most_similar


def commonest(training: Sequence[str]) -> Ranking:
    """What training holds most of: classes, or answers to one question, with shares that sum to 1.

    Best first, ties in alphabetical order; the same for every test image. Raises ValueError where training
    holds nothing.
    """
    if not training:
        raise ValueError("the commonest of nothing: training holds no class or answer")
    counts = sorted(Counter(training).items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple((value, count / len(training)) for value, count in counts)


def nearest(training: FloatArray, test: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """The nearest training embedding of each test embedding by cosine, exactly (faiss): index and cosine.

    Embeddings are (image, dimension), the answers (test image,). Raises ValueError where an embedding has no
    direction (zero, infinite or not a number).
    """
    found = most_similar(training, test, 1)
    return found.rows[:, 0], found.cosines[:, 0]


def nearest_classes(training: FloatArray, labels: Sequence[str], test: FloatArray) -> list[tuple[str, ...]]:
    """For each test image, the classes in the order of their nearest training image.

    The first is the class of the nearest neighbour; ties stand in alphabetical order.
    """
    classes = sorted(set(labels))
    given = np.asarray(labels)
    cosines = np.stack([nearest(training[given == name], test)[1] for name in classes], axis=1)
    return [tuple(classes[i] for i in row) for row in np.argsort(-cosines, axis=1, kind="stable")]


def nearest_answers(training: FloatArray, answers: Sequence[str | None], test: FloatArray) -> list[str]:
    """For each test image, the answer of the nearest training image that has one to this question.

    Raises ValueError where no training image has an answer.
    """
    answered = [index for index, answer in enumerate(answers) if answer is not None]
    if not answered:
        raise ValueError("no training image has an answer to this question")
    rows, _ = nearest(training[answered], test)
    return [str(answers[answered[row]]) for row in rows]


def noise_image(shape: tuple[int, ...], seed: int) -> NDArray[np.uint8]:
    """An image of uniform noise, (rows, columns) or (rows, columns, channels), for the blind student."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
