"""``micrographia init``: a new workspace."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from micrographia.cli.console import say
from micrographia.recipe import shipped

SHIPPED = ", ".join(shipped())


def init(
    lab: Annotated[Path, typer.Argument(help="The folder to make.")],
    recipe: Annotated[str, typer.Option(help=f"The recipe to start from: {SHIPPED}.")] = "mvaema",
) -> None:
    """Make a workspace: a folder with a recipe that says what will be done.

    Read LAB/micrographia.yaml and change what you like; every field is explained there. Nothing else is
    written until a stage runs.

    Example: micrographia init my-lab --recipe mvaema

    Next: micrographia ingest --lab my-lab PATH-TO-IMAGES
    """
    from micrographia.recipe import shipped_text
    from micrographia.workspace import RECIPE, Workspace

    workspace = Workspace.create(lab, shipped_text(recipe))
    workspace.close()
    sets = ", ".join(workspace.recipe.teach.questions)
    say(f"{lab / RECIPE} holds the recipe")
    say(
        f"it asks the question sets {sets} (teach.questions); `micrographia teach --list` shows others, "
        "such as surfaces for steel"
    )
    if _holds_more(lab, RECIPE):
        say(
            f"{lab} already holds files; images are better kept in a folder of their own, since the folder "
            "of a workspace is never searched for images"
        )
    say(f"next: micrographia ingest --lab {shlex.quote(str(lab))} PATH-TO-IMAGES")


def _holds_more(lab: Path, recipe: str) -> bool:
    """Whether anything lies beside the recipe that a person put there: hidden files do not count."""
    return any(path.name != recipe and not path.name.startswith(".") for path in lab.iterdir())
