"""Printed words in an image and where they stand: rapidocr, with the models that come with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST_SCORE = 0.5
"""Of what the recogniser is less sure of, nothing is kept."""
FINEST, COARSEST = 640, 1280
"""The longer side of what the detector sees: smaller images are enlarged, larger ones reduced."""
LARGEST_ENLARGEMENT = 3.0
SHORTEST_SIDE = 32


@dataclass(frozen=True)
class Word:
    """A line of print, its box in pixels (half-open), and how sure the recogniser is, 0 to 1."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    score: float

    @property
    def height(self) -> float:
        """Rows of the box, which is somewhat larger than the letters."""
        return self.bottom - self.top

    def moved(self, rows: float, columns: float) -> Word:
        """The same word in an image of which this one is a part that begins there."""
        return Word(
            self.text,
            self.left + columns,
            self.top + rows,
            self.right + columns,
            self.bottom + rows,
            self.score,
        )


def read_words(grey: NDArray[np.uint8]) -> list[Word]:
    """Every line of print in ``grey`` (rows, columns), from the top."""
    if min(grey.shape) < 4:
        return []
    factor = _enlargement(max(grey.shape))
    sized: NDArray[Any] = cv2.resize(
        grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
    )
    sized = _at_least(sized, SHORTEST_SIDE)
    found = _engine()(cv2.cvtColor(sized, cv2.COLOR_GRAY2BGR))
    if found.boxes is None:
        return []
    words = []
    for corners, text, score in zip(found.boxes, found.txts, found.scores, strict=True):
        if score < LEAST_SCORE or not text.strip():
            continue
        columns, rows = np.asarray(corners, np.float64).T / factor
        words.append(Word(text.strip(), columns.min(), rows.min(), columns.max(), rows.max(), float(score)))
    return sorted(words, key=lambda word: (word.top, word.left))


def _enlargement(longer: int) -> float:
    if longer > COARSEST:
        return COARSEST / longer
    return min(max(FINEST / longer, 1.0), LARGEST_ENLARGEMENT)


def _at_least(image: NDArray[Any], rows: int) -> NDArray[Any]:
    """With copies of the last row below, where it is lower than the detector takes."""
    missing = max(0, rows - image.shape[0])
    return np.pad(image, ((0, missing), (0, 0)), mode="edge") if missing else image


@cache
def _engine() -> Any:
    """Loaded when the first image needs it. One thread: images are shared out among processes."""
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.log_level": "error",
            "Global.use_cls": False,
            "Global.max_side_len": 4096,
            "Det.limit_type": "max",
            "Det.limit_side_len": COARSEST * 2,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
