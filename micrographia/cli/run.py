"""``micrographia run``: every stage in order; what is done is not done again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from micrographia.cli.console import HERE, Lab, Quiet, at_work, say, say_nothing
from micrographia.cli.evaluate import show_all
from micrographia.cli.folds import folds_of
from micrographia.cli.ingest import Labels, in_words, require_all_read
from micrographia.errors import WorkLeftOut

if TYPE_CHECKING:
    from micrographia.engine import Progress
    from micrographia.evaluate.run import Evaluation
    from micrographia.workspace import Workspace


def run(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Images to ingest first, or folders that hold them.")
    ] = None,
    table: Labels = None,
    lab: Lab = HERE,
    quiet: Quiet = False,
) -> None:
    """Do every stage in order: ingest (where PATHS are given), measure, teach, tune, evaluate.

    What is done is not done again: after a stop, or with more images, the same command does the rest.

    Example: micrographia run --lab my-lab ~/images

    Next: micrographia ask --lab my-lab IMAGE
    """
    if table and not paths:
        raise typer.BadParameter("it speaks of images: name their folder too", param_hint="--table")
    from micrographia.micrographs.conflicts import draw_conflicts
    from micrographia.micrographs.ingest import arrange, ingest
    from micrographia.tune.given import require_given

    tell = say_nothing if quiet else say
    with at_work(lab, quiet) as (workspace, progress):
        require_given(workspace)
        summary = None
        if paths:
            summary = ingest(workspace, paths, table, progress=progress)
            tell(in_words(summary))
        else:
            arrange(workspace, progress)  # the end of an ingest that was stopped, or another split
            draw_conflicts(workspace, progress)
        evaluations, left_out = learn_and_evaluate(workspace, progress, tell)
    show_all(evaluations)
    if left_out:
        raise left_out
    if summary:
        require_all_read(summary)


def learn_and_evaluate(
    workspace: Workspace, progress: Progress, tell: Callable[[str], None]
) -> tuple[Sequence[Evaluation], WorkLeftOut | None]:
    """Every stage after ingest, for every fold; and what could not be measured, to be raised at the end."""
    from micrographia.evaluate.run import evaluate
    from micrographia.teach.generate import teach
    from micrographia.tune.train import tune

    left_out = None
    try:
        teach(workspace, progress)
    except WorkLeftOut as error:
        tell(str(error))
        left_out = error
    evaluations = []
    for fold in folds_of(workspace.recipe):
        tune(workspace, fold, progress, tell)
        evaluations.append(evaluate(workspace, fold, progress))
    return evaluations, left_out
