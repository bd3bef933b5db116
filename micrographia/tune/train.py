"""The tuning stage: from a workspace with conversations to a student in its folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from micrographia.adapt.methods import require_machine
from micrographia.engine import SILENT, Progress
from micrographia.errors import StudentError
from micrographia.recipe import TuneSection
from micrographia.teach.generate import questions_asked
from micrographia.teach.lexicon import class_words
from micrographia.tune.card import CARD, Card, is_of, read_card
from micrographia.tune.corpus import corpus_of
from micrographia.tune.given import digest_of_given, require_given
from micrographia.tune.hub import tune_hub
from micrographia.tune.mvaema import tune_mvaema
from micrographia.tune.processes import are_sharding, is_first, require_shares, wait
from micrographia.tune.run import ADAPTER, Made, Run
from micrographia.tune.sighted import tune_llava, tune_maemi
from micrographia.workspace import Workspace

FAMILIES: dict[str, Callable[[Run], Made]] = {
    "mvaema": tune_mvaema,
    "maemi": tune_maemi,
    "llava": tune_llava,
    "hub": tune_hub,
}
DEMONSTRATIONS = "demonstrations.json"
"""Beside the weights: of each image that was shown with others, their ids in order."""


def tune(
    workspace: Workspace,
    fold: int | None = None,
    progress: Progress = SILENT,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """The folder of a student that is tuned as the recipe says; one that is there already is left alone.

    ``fold`` is for a cross-validation. ``say`` is given the plan, line by line, before the first step. A run
    that was killed goes on from its last checkpoint. Raises PlanError where the data do not suffice, or a
    folder that the recipe names holds no model.
    """
    recipe = workspace.recipe.tune
    require_given(workspace)
    require_shares(recipe.batch, "tune.batch")
    if recipe.family != "mvaema":
        require_machine(recipe.low_rank, are_sharding())
    corpus = corpus_of(workspace, fold or 0)
    fingerprint = corpus.fingerprint(recipe, digest_of_given(workspace))
    folder = workspace.student_folder(fold)
    training = folder.parent / f".{folder.name}-training-{fingerprint[:12]}"
    if not is_of(folder, fingerprint):
        _tell_what_goes(folder, recipe, say)
        training.mkdir(parents=True, exist_ok=True)
        run = Run(workspace, corpus, training, progress, say)
        made = FAMILIES[recipe.family](run)
        ids = [m.id for m in corpus.micrographs]
        shown = {ids[row]: [ids[other] for other in others] for row, others in made.demonstrations.items()}
        if is_first():
            _save(folder, training, made, _card(run, made, fingerprint), shown)
    wait()
    if is_first():
        for left_behind in folder.parent.glob(f".{folder.name}-training-*"):
            shutil.rmtree(left_behind)
    return folder


def _tell_what_goes(folder: Path, recipe: TuneSection, say: Callable[[str], None]) -> None:
    """Say it where the folder holds a student of another recipe: more of the same images is no surprise."""
    try:
        card = read_card(folder)
    except StudentError:
        return
    if card and json.loads(card.recipe).get("tune") != recipe.model_dump(mode="json"):
        say(f"replaces     students/{folder.name}, which another recipe made; another tune.name keeps both")


def _card(run: Run, made: Made, fingerprint: str) -> Card:
    corpus, taught = run.corpus, run.corpus.of("train")
    classes = sorted({m.label for row in made.parts["train"] if (m := corpus.micrographs[row]).label})
    return Card(
        fingerprint=fingerprint,
        family=run.recipe.family,
        classes=tuple(classes),
        class_texts=tuple(class_words(label) for label in classes),
        category_question=corpus.commonest_prompt("category", "short"),
        caption_question=corpus.commonest_prompt("caption", "long"),
        demonstrations=max(map(len, made.demonstrations.values()), default=0),
        questions=questions_asked(taught),
        recipe=run.workspace.recipe.model_dump_json(exclude={"catalog", "workers"}),
        plan=made.plan,
        images=len(made.parts["train"]),
        seen=tuple(
            corpus.micrographs[row].id for part in ("train", "validation") for row in corpus.parts[part]
        ),
        label_curve=tuple(made.label_curve),
        curve=tuple(made.curve),
    )


def _save(folder: Path, training: Path, made: Made, card: Card, shown: dict[str, list[str]]) -> None:
    """Written whole under another name, then put in place of what was there."""
    draft, old = training / "student", training / "replaced"
    shutil.rmtree(draft, ignore_errors=True)  # half written by a run that was killed
    made.model.save_pretrained(draft)
    made.processor.save_pretrained(draft)
    if shown:
        (draft / DEMONSTRATIONS).write_text(json.dumps(shown), encoding="utf-8")
    if (training / ADAPTER).is_dir():
        (training / ADAPTER).rename(draft / ADAPTER)
    (draft / CARD).write_text(card.model_dump_json(indent=1), encoding="utf-8")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    draft.rename(folder)
