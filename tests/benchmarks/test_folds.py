import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import folds
from benchmarks.folds import Fold, Row
from benchmarks.pooled import FoldResult
from micrographia.recipe import parse

CHECKOUT = Path(__file__).resolve().parents[2]


def fold(recipe="seed: 1", part="test"):
    return Fold("blocks", 2, recipe, (Row("a.png", "pores", part=part), Row("b.png", "pores")))


def result_of(made_from):
    cost = {"minutes": 1.0, "peak_memory_gib": 1.0, "threads": 2}
    what = {"division": "blocks", "number": 2, "images": {}, "baselines": {}, "choices": (), "replies": ()}
    return FoldResult(made_from=made_from, **cost, **what)


def test_a_result_is_found_again(tmp_path):
    saved = result_of(fold().made_from)
    folds.save(tmp_path / "blocks-2.json", saved)
    assert folds.load(tmp_path / "blocks-2.json", FoldResult, fold().made_from) == saved
    assert [path.name for path in tmp_path.iterdir()] == ["blocks-2.json"]


@pytest.mark.parametrize("other", [fold(recipe="seed: 2"), fold(part="train")])
def test_a_result_of_another_recipe_or_table_is_none(tmp_path, other):
    folds.save(tmp_path / "blocks-2.json", result_of(fold().made_from))
    assert folds.load(tmp_path / "blocks-2.json", FoldResult, other.made_from) is None


def test_what_was_never_saved_is_none(tmp_path):
    assert folds.load(tmp_path / "blocks-2.json", FoldResult, fold().made_from) is None


def test_sections_take_the_place_of_the_recipe_s_own():
    text = folds.with_sections("{tune: {epochs: 3}, split: {test: 0.5}}", split={"folds": 5})
    recipe = parse(text, "made")
    assert (recipe.tune.epochs, recipe.split.folds, recipe.split.test) == (3, 5, 0.2)


def test_numbers_of_folds():
    assert folds.fold_numbers("3,0,3") == (0, 3)
    for wrong in ("5", "-1", "", "0;1", "blocks"):
        with pytest.raises(argparse.ArgumentTypeError, match="from 0 to 4"):
            folds.fold_numbers(wrong)


def test_all_files_or_some_of_each_class():
    files = [Path(name) / f"{i}.png" for name in ("pores", "tips") for i in range(9)]
    assert folds.spread(files, None) == files
    assert [str(f) for f in folds.spread(files, 3)] == [
        f"{name}/{i}.png" for name in ("pores", "tips") for i in (0, 3, 6)
    ]
    assert folds.spread(files, 100) == files


@pytest.mark.parametrize("script", ["neu", "kth_tips"])
def test_without_the_images_it_is_said_what_is_missing(tmp_path, script):
    command = [sys.executable, "-m", f"benchmarks.{script}", "--images", str(tmp_path)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert f"in {tmp_path}: --images says where the data set lies" in done.stderr
