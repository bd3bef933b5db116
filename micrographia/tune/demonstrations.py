"""Which labelled training images a student is shown before a question for the category."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from micrographia.errors import PlanError
from micrographia.teach.sampling import most_similar
from micrographia.tune.run import Run


def shown_and_asked(run: Run, parts: Mapping[str, Sequence[int]]) -> tuple[list[int], list[int]]:
    """Rows of the labelled training images, which can be shown, and of all that are shown others; none where
    the recipe asks for no demonstrations. Raises PlanError where there are too few."""
    count, groups = run.recipe.demonstrations, run.corpus.groups
    if not (count and run.corpus.commonest_prompt("category", "short")):
        return [], []
    labelled = {
        part: [row for row in parts[part] if run.corpus.micrographs[row].label]
        for part in ("train", "validation")
    }
    pool, asked = labelled["train"], labelled["train"] + labelled["validation"]
    of_group = Counter(groups[row] for row in pool)
    fewest = min(len(pool) - of_group[groups[row]] for row in asked) if asked else 0
    if fewest < count:
        raise PlanError(
            f"tune.demonstrations is {count}, and for some image there are only {fewest} training images of "
            "other groups that have a label",
            "ask for fewer demonstrations, or label more images",
        )
    return pool, asked


def likest(
    run: Run, placed: NDArray[np.float32], pool: Sequence[int], asked: Sequence[int]
) -> dict[int, list[int]]:
    """Of each row that is asked about, those of the pool most like it, of other groups, the likest last.

    ``placed`` (n, d) is where the eye puts each image.
    """
    groups = np.asarray(run.corpus.groups)
    found = most_similar(
        *(placed[list(pool)], placed[list(asked)], run.recipe.demonstrations),
        *(groups[list(pool)].tolist(), groups[list(asked)].tolist()),
    )
    return {
        row: [pool[place] for place in reversed(places)]
        for row, places in zip(asked, found.rows.tolist(), strict=True)
    }


def in_words(wanted: int, fitting: Sequence[int]) -> str:
    """How many demonstrations there are and how many fit before the questions, for the plan."""
    if not fitting:
        return ""
    fewest = min(fitting)
    left = "" if fewest == wanted else f"; {fewest} where texts are long, the least like are left out"
    return f"{wanted} images with their labels, before half of the questions for the category{left}"
