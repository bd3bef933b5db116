"""Which students a verb is about: the one of the recipe, or one for each fold of its cross-validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from micrographia.errors import RecipeError

if TYPE_CHECKING:
    from micrographia.recipe import Recipe

Fold = Annotated[
    int | None, typer.Option("--fold", help="In a cross-validation: only this fold, counted from 0.")
]


def folds_of(recipe: Recipe, fold: int | None = None) -> list[int | None]:
    """``[None]`` without cross-validation, otherwise every fold or the one asked for."""
    if recipe.split.folds is None:
        if fold is not None:
            raise RecipeError(f"fold is {fold}, but the recipe asks for no folds", "set split.folds in it")
        return [None]
    if fold is None:
        return list(range(recipe.split.folds))
    if not 0 <= fold < recipe.split.folds:
        raise RecipeError(f"fold is {fold}", f"the recipe has folds 0 to {recipe.split.folds - 1}")
    return [fold]
