"""``micrographia init``: a new workspace."""

from pathlib import Path
from typing import Annotated

import typer

from micrographia.cli.console import say


def init(
    lab: Annotated[Path, typer.Argument(help="The folder to make.")],
    recipe: Annotated[
        str, typer.Option(help="The recipe to start from; mvaema is the only one so far.")
    ] = "mvaema",
) -> None:
    """Make a workspace: a folder with a recipe that says what will be done.

    Read LAB/micrographia.yaml and change what you like; every field is explained there. Nothing else is
    written until a stage runs.

    Example: micrographia init my-lab --recipe mvaema

    Next: micrographia ingest --lab my-lab PATH-TO-IMAGES
    """
    from micrographia.recipe import shipped_text
    from micrographia.workspace import RECIPE, Workspace

    Workspace.create(lab, shipped_text(recipe)).close()
    say(f"{lab / RECIPE} holds the recipe; next: micrographia ingest --lab {lab} PATH-TO-IMAGES")
