"""Steel-surface defects (NEU-CLS, 6 classes by 180 images): how often, and how truly, the student answers.

    python -m benchmarks.neu [--json] [--work FOLDER] [--division blocks] [--folds 0,1]
        [--student mvaema|maemi|llava]

Three ways to divide the same images, five folds each:

    blocks       fold k tests the ids 36k+1 to 36k+36 of every class. Neighbouring ids look alike, so the
                 rest is divided into training and validation by runs of nine ids, and intervals are
                 clustered by these runs.
    random       image by image, as published figures mostly are: look-alikes of test images are in
                 training, which flatters.
    look-alikes  random, but near duplicates and overlapping fields stay on one side.

``--student maemi`` and ``llava`` are a small language model given sight; they name the class a second time
with four labelled training images shown before it, those most like it (top1_shown, shown_difference).
Words, facts and minutes are those of the blocks. Progress goes to stderr, figures to stdout.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks import folds, pooled
from benchmarks.folds import FOLDS, Benchmark, Fold, Row
from benchmarks.pooled import Figures, FoldResult, Taught

IMAGES = Path(__file__).resolve().parents[2] / "shared" / "data" / "neu-cls" / "images"
BLOCK, RUN = 36, 9
"""Consecutive ids that are tested together, and that are never parted."""

TEACH = "teach: {questions: [surfaces, caption, category]}\n"
RECIPES = {
    "mvaema": TEACH,
    "maemi": TEACH + "tune: {family: maemi, texts_per_image: 4, demonstrations: 4}\n",
    "llava": TEACH + "tune: {family: llava, texts_per_image: 4, demonstrations: 4}\n",
}

SECTIONS: dict[str, dict[str, dict[str, object]]] = {
    "blocks": {"split": {"bind_look_alikes": False}},
    "random": {"split": {"folds": FOLDS, "bind_look_alikes": False}, "evaluate": {"questions_per_image": 1}},
    "look-alikes": {"split": {"folds": FOLDS}, "evaluate": {"questions_per_image": 1}},
}
"""What each division changes in the recipe. Words are judged on the blocks; elsewhere little is asked."""


def number(file: Path) -> int:
    """The id in ``CLASS/CLASS_ID.jpg``, from 1. Raises ValueError for another name."""
    digits = file.stem.removeprefix(f"{file.parent.name}_")
    if not digits.isdecimal():
        raise ValueError(f"{file} is no CLASS/CLASS_ID.jpg")
    return int(digits)


def images_in(folder: Path) -> list[Path]:
    """By class and id."""
    return sorted(folder.glob("*/*.jpg"), key=lambda file: (file.parent.name, number(file)))


def block_rows(files: Sequence[Path], fold: int) -> tuple[Row, ...]:
    """The fold's block is the test; runs of consecutive ids are groups."""
    return tuple(
        Row(
            file=str(file),
            label=file.parent.name,
            group=f"{file.parent.name} {(number(file) - 1) // RUN}",
            part="test" if (number(file) - 1) // BLOCK == fold else "train",
        )
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
        made += [Fold(name, k, text, block_rows(files, k) if name == "blocks" else free) for k in numbers]
    return made


def figures(results: Sequence[FoldResult], taught: Taught) -> Figures:
    """One flat object."""
    made: Figures = {}
    for division in SECTIONS:
        made |= pooled.division_figures(division, results)
    made |= pooled.few_shot_figures("blocks", results)
    made |= pooled.text_figures("blocks", "vqa", results)
    made |= pooled.text_figures("blocks", "caption", results, "_captions")
    return made | pooled.cost_figures("blocks", results, taught)


LAYOUT = "CLASS/CLASS_ID.jpg"

if __name__ == "__main__":
    folds.main(Benchmark(__doc__, IMAGES, LAYOUT, RECIPES, tuple(SECTIONS), images_in, folds_of, figures))
