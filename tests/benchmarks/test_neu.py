from collections import Counter
from pathlib import Path

import pytest

from benchmarks import neu
from benchmarks.folds import FOLDS, spread
from micrographia.errors import RecipeError
from micrographia.recipe import parse


def tree(classes=("crazing", "rolled-in_scale"), ids=180):
    return [Path("images") / name / f"{name}_{i}.jpg" for name in classes for i in range(1, ids + 1)]


def id_of(row):
    return int(row.file.removesuffix(".jpg").rsplit("_", 1)[1])


def test_a_block_is_36_consecutive_ids_of_every_class():
    for fold in range(FOLDS):
        tested = [row for row in neu.block_rows(tree(), fold) if row.part == "test"]
        for label in ("crazing", "rolled-in_scale"):
            ids = [id_of(row) for row in tested if row.label == label]
            assert ids == list(range(36 * fold + 1, 36 * fold + 37))


def test_every_image_is_tested_in_one_fold_and_trained_on_in_the_others():
    parts = Counter((r.file, r.part) for k in range(FOLDS) for r in neu.block_rows(tree(), k))
    for file in map(str, tree()):
        assert (parts[file, "test"], parts[file, "train"]) == (1, FOLDS - 1)


@pytest.mark.parametrize("fold", range(FOLDS))
def test_no_run_of_nine_is_in_two_parts(fold):
    rows = neu.block_rows(tree(), fold)
    parts_of = {row.group: {r.part for r in rows if r.group == row.group} for row in rows}
    assert all(len(parts) == 1 for parts in parts_of.values())
    assert set(Counter(row.group for row in rows).values()) == {9}


def test_images_are_ordered_by_id_and_not_by_name(tmp_path):
    for file in reversed(tree(("patches",), 12)):
        (tmp_path / file.parent.name).mkdir(exist_ok=True)
        (tmp_path / file.parent.name / file.name).touch()
    assert [neu.number(file) for file in neu.images_in(tmp_path)] == list(range(1, 13))


def test_a_name_without_an_id_is_refused():
    with pytest.raises(ValueError, match=r"patches_left\.jpg is no CLASS/CLASS_ID\.jpg"):
        neu.number(Path("images/patches/patches_left.jpg"))


def test_a_quick_try_still_has_every_block():
    few = spread(tree(), 10)
    blocks = Counter((file.parent.name, (neu.number(file) - 1) // neu.BLOCK) for file in few)
    assert len(few) == 20 and set(blocks.values()) == {2}


def test_divisions_differ_in_what_is_bound_and_learn_the_same():
    made = {f.division: f for f in neu.folds_of(tree(), neu.TEACH, list(neu.SECTIONS), [3])}
    recipes = {name: parse(fold.recipe, name) for name, fold in made.items()}
    assert {n: (r.split.folds, r.split.bind_look_alikes) for n, r in recipes.items()} == {
        "blocks": (None, False),
        "random": (FOLDS, False),
        "look-alikes": (FOLDS, True),
    }
    assert len({(r.tune, r.teach) for r in recipes.values()}) == 1
    assert {row.part for row in made["random"].rows} == {""}
    assert {row.group for row in made["look-alikes"].rows} == {""}


def test_a_wrong_recipe_is_refused_before_any_work():
    with pytest.raises(RecipeError, match="epoch is not a field"):
        neu.folds_of(tree(), "tune: {epoch: 3}", ["blocks"], [0])


@pytest.mark.real
def test_blocks_of_the_real_images(real_data):
    folder = real_data / "neu-cls" / "images"
    if not folder.is_dir():
        pytest.skip(f"no NEU-CLS: {folder} is not a folder")
    files = neu.images_in(folder)
    tested = [r for k in range(FOLDS) for r in neu.block_rows(files, k) if r.part == "test"]
    assert Counter(row.label for row in tested) == Counter(file.parent.name for file in files)
    assert len({row.file for row in tested}) == len(files) == len(tested)
