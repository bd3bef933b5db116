"""``micrographia tune``: a student learns what was taught."""

import os

from micrographia.cli.console import HERE, Lab, Quiet, at_work, say, say_nothing, with_lab
from micrographia.cli.folds import Fold, folds_of


def tune(lab: Lab = HERE, fold: Fold = None, quiet: Quiet = False) -> None:
    """Train a student on the questions and answers of the training images; test images are kept away.

    The plan is printed before the first step: images, texts, what is left out, memory, steps. A run that was
    stopped goes on from its last checkpoint. The student is a folder that `transformers` can load as well.

    Several processes, started by `accelerate launch -m micrographia tune`, share the work.

    Example: micrographia tune --lab my-lab

    Next: micrographia evaluate --lab my-lab
    """
    from micrographia.tune.train import tune

    quiet = quiet or os.environ.get("RANK", "0") != "0"  # of several processes one speaks; errors all tell
    with at_work(lab, quiet) as (workspace, progress):
        for each in folds_of(workspace.recipe, fold):
            folder = tune(workspace, each, progress, say=say_nothing if quiet else say)
            if not quiet:
                say(with_lab(f"the student is in {folder}; next: micrographia evaluate", lab))
