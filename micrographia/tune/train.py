"""The tuning stage: from a workspace with conversations to a student in its folder."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from micrographia.engine import SILENT, Progress
from micrographia.records import Conversation
from micrographia.teach.generate import questions_asked
from micrographia.teach.lexicon import class_words
from micrographia.tune.card import CARD, Card, is_of
from micrographia.tune.corpus import corpus_of
from micrographia.tune.maemi import tune_maemi
from micrographia.tune.mvaema import tune_mvaema
from micrographia.tune.processes import is_first, require_shares, wait
from micrographia.tune.run import Made, Run
from micrographia.workspace import Workspace

FAMILIES: dict[str, Callable[[Run], Made]] = {"mvaema": tune_mvaema, "maemi": tune_maemi}


def tune(
    workspace: Workspace,
    fold: int | None = None,
    progress: Progress = SILENT,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """The folder of a student that is tuned as the recipe says; one that is there already is left alone.

    ``fold`` is for a cross-validation. ``say`` is given the plan, line by line, before the first step. A run
    that was killed goes on from its last checkpoint. Raises PlanError where the data do not suffice.
    """
    recipe = workspace.recipe.tune
    require_shares(recipe.batch, "tune.batch")
    corpus = corpus_of(workspace, fold or 0)
    fingerprint = corpus.fingerprint(recipe)
    folder = workspace.student_folder(fold)
    training = folder.parent / f".{folder.name}-training-{fingerprint[:12]}"
    if not is_of(folder, fingerprint):
        training.mkdir(parents=True, exist_ok=True)
        run = Run(workspace, corpus, training, progress, say)
        made = FAMILIES[recipe.family](run)
        if is_first():
            _save(folder, training, made, _card(run, made, fingerprint))
    wait()
    if is_first():
        for left_behind in folder.parent.glob(f".{folder.name}-training-*"):
            shutil.rmtree(left_behind)
    return folder


def _commonest_prompt(conversations: Sequence[Conversation], task: str, length: str) -> str:
    prompts = Counter(c.prompt for c in conversations if c.task == task and c.length == length)
    return min(prompts, key=lambda p: (-prompts[p], p)) if prompts else ""


def _card(run: Run, made: Made, fingerprint: str) -> Card:
    corpus, taught = run.corpus, run.corpus.of("train")
    classes = sorted({m.label for row in made.parts["train"] if (m := corpus.micrographs[row]).label})
    return Card(
        fingerprint=fingerprint,
        classes=tuple(classes),
        class_texts=tuple(class_words(label) for label in classes),
        category_question=_commonest_prompt(taught, "category", "short"),
        caption_question=_commonest_prompt(taught, "caption", "long"),
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


def _save(folder: Path, training: Path, made: Made, card: Card) -> None:
    """Written whole under another name, then put in place of what was there."""
    draft, old = training / "student", training / "replaced"
    made.model.save_pretrained(draft)
    made.processor.save_pretrained(draft)
    (draft / CARD).write_text(card.model_dump_json(indent=1), encoding="utf-8")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    draft.rename(folder)
