"""``micrographia quickstart``: the whole story on drawn micrographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from micrographia.cli.console import Quiet, at_work, say, say_nothing
from micrographia.cli.evaluate import show_all
from micrographia.cli.run import learn_and_evaluate

SIDE_PX = 384
"""Rows and columns of the drawn images."""


def quickstart(
    folder: Annotated[Path, typer.Argument(help="Where to do it.")] = Path("quickstart"),
    images_per_class: Annotated[
        int, typer.Option(min=9, help="Three are drawn of each specimen, and three specimens are needed.")
    ] = 36,
    quiet: Quiet = False,
) -> None:
    """See the whole story on two processor cores in minutes, with nothing downloaded.

    Draws micrographs of ten categories into FOLDER/micrographs, makes the workspace FOLDER/lab, teaches and
    tunes a small student, and evaluates it on specimens that it has not seen.

    Example: micrographia quickstart

    Next: micrographia ask --lab quickstart/lab quickstart/micrographs/Fibres/fibres-00001.png
    """
    from micrographia import phantoms
    from micrographia.micrographs.ingest import ingest
    from micrographia.recipe import shipped_text
    from micrographia.workspace import RECIPE, Workspace

    lab, images = folder / "lab", folder / "micrographs"
    if not (lab / RECIPE).exists():
        Workspace.create(lab, shipped_text("mvaema")).close()
    with at_work(lab, quiet) as (workspace, progress):
        table = phantoms.write(
            images, images_per_class, size=(SIDE_PX, SIDE_PX), databars=False, progress=progress
        )
        ingest(workspace, [images], table, progress=progress)
        evaluations, _ = learn_and_evaluate(workspace, progress, say_nothing if quiet else say)
    show_all(evaluations)
