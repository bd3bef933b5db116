"""``micrographia evaluate``: how far the student can be trusted, beside its baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from micrographia.cli.console import HERE, AsJson, Lab, Quiet, at_work, say, show, show_json, with_lab
from micrographia.cli.folds import Fold, folds_of
from micrographia.cli.status import outdated

if TYPE_CHECKING:
    from micrographia.evaluate.run import Evaluation
    from micrographia.records import Score


def evaluate(lab: Lab = HERE, fold: Fold = None, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Ask the student about every test image and score its answers beside its baselines.

    The baselines: the nearest training image, the commonest answer, and the student itself with noise in
    place of the image. Each figure has its 95 % interval and what it was taken over. The report is one HTML
    file with every test image and its answers. What was answered before is not asked again.

    Example: micrographia evaluate --lab my-lab

    Next: micrographia ask --lab my-lab IMAGE
    """
    from micrographia.evaluate.run import evaluate

    with at_work(lab, quiet) as (workspace, progress):
        folds = folds_of(workspace.recipe, fold)
        for each in folds:
            if not quiet and (reason := outdated(workspace, each)):
                say(f"{workspace.student_folder(each).name}: {with_lab(reason, lab)}")
        evaluations = [evaluate(workspace, each, progress) for each in folds]
    if as_json:
        show_json({"evaluations": [as_dict(each) for each in evaluations]})
    else:
        show_all(evaluations)


def as_dict(evaluation: Evaluation) -> dict[str, object]:
    """As ``--json`` prints it."""
    return {
        "report": str(evaluation.report),
        "table": str(evaluation.table),
        "scores": [score.model_dump() for score in evaluation.scores],
    }


def show_all(evaluations: Sequence[Evaluation]) -> None:
    """The table of each, and where its report lies."""
    for evaluation in evaluations:
        show(score_table(evaluation.scores))
        show(str(evaluation.report))


def score_table(scores: Sequence[Score]) -> Table:
    """One row a metric, one column a system: the figure, and below it what it was taken over."""
    from micrographia.evaluate import table

    drawn = Table("task", "metric", *table.systems(scores), show_lines=True)
    for (task, metric), row in table.by_metric(scores).items():
        cells = [
            f"{table.figure(row[system])}\n{table.counts(row[system])}" if system in row else "–"
            for system in table.systems(scores)
        ]
        drawn.add_row(*(Text(cell) for cell in (task, metric, *cells)))
    return drawn
