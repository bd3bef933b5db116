"""Textures of materials (KTH-TIPS, 10 classes, 5 scales): does the student know them, also from farther away?

    python -m benchmarks.kth_tips [--json] [--work FOLDER] [--division random] [--folds 0,1]

Two ways to divide the same images:

    random  five folds, image by image, as published figures mostly are.
    scale   one fold: trained on scales 1 to 4, tested on scale 5.

Each class is one physical sample, photographed 45 times: its images are one group, in both ways, so the
intervals say what another ten samples might give, and are wide. Minutes are those of the random folds.
Progress goes to stderr, figures to stdout.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks import folds, pooled
from benchmarks.folds import FOLDS, Benchmark, Fold, Row
from benchmarks.pooled import Figures, FoldResult, Taught

IMAGES = Path(__file__).resolve().parents[2] / "shared" / "data" / "kth-tips"
NAME = re.compile(r"\d+-scale_(?P<scale>\d+)_im_\d+_grey\.png")
TESTED_SCALE = 5

RECIPE = """
teach: {questions: [textures, caption, category]}
"""

SECTIONS: dict[str, dict[str, dict[str, object]]] = {
    "random": {"split": {"folds": FOLDS, "bind_look_alikes": False}, "evaluate": {"questions_per_image": 1}},
    "scale": {"split": {"bind_look_alikes": False}, "evaluate": {"questions_per_image": 1}},
}
"""What each division changes in the recipe. Only the class matters: little else is asked."""


def scale(file: Path) -> int:
    """The scale in ``CLASS/NN-scale_S_im_I_grey.png``. Raises ValueError for another name."""
    match = NAME.fullmatch(file.name)
    if match is None:
        raise ValueError(f"{file} is no NN-scale_S_im_I_grey.png")
    return int(match["scale"])


def images_in(folder: Path) -> list[Path]:
    """By class and name, so by class and scale."""
    return sorted(folder.glob("*/*_grey.png"))


def scale_rows(files: Sequence[Path]) -> tuple[Row, ...]:
    """One scale is the test."""
    return tuple(
        Row(str(file), file.parent.name, part="test" if scale(file) == TESTED_SCALE else "train")
        for file in files
    )


def folds_of(
    files: Sequence[Path], recipe_text: str, names: Sequence[str], numbers: Sequence[int]
) -> list[Fold]:
    """The folds of the divisions, in their order. Raises RecipeError."""
    free = tuple(Row(str(file), file.parent.name) for file in files)
    made = []
    for name in names:
        text = folds.with_sections(recipe_text, **SECTIONS[name])
        if name == "scale":
            made.append(Fold(name, 0, text, scale_rows(files)))
        else:
            made += [Fold(name, k, text, free) for k in numbers]
    return made


def figures(results: Sequence[FoldResult], taught: Taught) -> Figures:
    """One flat object."""
    made: Figures = {}
    for division in SECTIONS:
        made |= pooled.division_figures(division, results, by="label")
    return made | pooled.cost_figures("random", results, taught)


LAYOUT = "CLASS/NN-scale_S_im_I_grey.png"

if __name__ == "__main__":
    folds.main(
        Benchmark(__doc__, IMAGES, LAYOUT, {"mvaema": RECIPE}, tuple(SECTIONS), images_in, folds_of, figures)
    )
