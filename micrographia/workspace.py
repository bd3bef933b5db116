"""A folder in which one assistant is made: its recipe, its catalogue, its objects, students and reports."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from micrographia import recipe
from micrographia.catalog import Catalog, Objects
from micrographia.engine import available_workers
from micrographia.errors import WorkspaceError
from micrographia.recipe import Recipe

RECIPE = "micrographia.yaml"


class Workspace:
    """An existing workspace. Raises WorkspaceError where the folder is none, RecipeError for a bad recipe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        if not (self.folder / RECIPE).is_file():
            raise _no_workspace(folder)
        self.recipe: Recipe = recipe.load(self.folder / RECIPE)

    @classmethod
    def create(cls, folder: Path, recipe_text: str) -> Workspace:
        """A new workspace with this recipe.

        Raises WorkspaceError where there is one already, or the folder cannot be made.
        """
        recipe.parse(recipe_text, RECIPE)
        try:
            if (folder / RECIPE).exists():
                raise WorkspaceError(f"{folder} is a workspace already", f"edit {folder / RECIPE} instead")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / RECIPE).write_text(recipe_text, encoding="utf-8")
        except FileExistsError:
            raise WorkspaceError(f"{folder} is a file", "name a folder for the workspace") from None
        except OSError as error:
            reason = f"{folder} cannot be made a workspace ({error.strerror})"
            raise WorkspaceError(reason, "name a folder that you may write in") from None
        return cls(folder)

    @cached_property
    def catalog(self) -> Catalog:
        """The records of this workspace."""
        here = f"sqlite:///{quote(str(self.folder / 'catalog.sqlite'))}"
        return Catalog(self.recipe.catalog or here)

    @cached_property
    def objects(self) -> Objects:
        """The original bytes of its files."""
        return Objects(str(self.folder / "objects"))

    @property
    def workers(self) -> int:
        """Local processes to read and measure with."""
        return self.recipe.workers or available_workers()

    def student_folder(self, fold: int | None = None) -> Path:
        """Where the student of the recipe lies; in a cross-validation there is one a fold."""
        name = self.recipe.tune.name
        return self.folder / "students" / (name if fold is None else f"{name}-fold{fold}")

    def report_folder(self, fold: int | None = None) -> Path:
        """Where the report on that student lies."""
        return self.folder / "reports" / self.student_folder(fold).name

    @property
    def conflict_folder(self) -> Path:
        """Where pictures of scales that contradict each other lie."""
        return self.folder / "conflicts"

    def close(self) -> None:
        """Give the catalogue's connections back."""
        if "catalog" in self.__dict__:
            self.catalog.close()


@contextmanager
def open_workspace(folder: Path) -> Iterator[Workspace]:
    """The workspace for the length of a block."""
    workspace = Workspace(folder)
    try:
        yield workspace
    finally:
        workspace.close()


def _no_workspace(folder: Path) -> WorkspaceError:
    remedy = f"`micrographia init {shlex.quote(str(folder))}` makes one"
    if folder == Path():
        return WorkspaceError(
            f"the current folder holds no {RECIPE}", f"{remedy}, or name a workspace with --lab"
        )
    return WorkspaceError(f"{folder} holds no {RECIPE}", remedy)
