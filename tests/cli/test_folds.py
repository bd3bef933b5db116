"""Verbs work on the one student of a recipe, or on those of its cross-validation."""

import pytest

from micrographia.cli.folds import folds_of
from micrographia.errors import RecipeError
from micrographia.recipe import Recipe, SplitSection

PLAIN, CROSS = Recipe(), Recipe(split=SplitSection(folds=3))


def test_which_students():
    assert folds_of(PLAIN) == [None]
    assert folds_of(CROSS) == [0, 1, 2]
    assert folds_of(CROSS, 2) == [2]


@pytest.mark.parametrize(("recipe", "fold"), [(PLAIN, 0), (CROSS, 3), (CROSS, -1)])
def test_a_fold_that_there_is_not(recipe, fold):
    with pytest.raises(RecipeError, match=f"fold is {fold}"):
        folds_of(recipe, fold)
