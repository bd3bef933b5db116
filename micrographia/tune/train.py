"""The tuning stage: from a workspace with conversations to a student in its folder."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from micrographia.engine import SILENT, Progress
from micrographia.recipe import TuneSection
from micrographia.records import Conversation
from micrographia.students.configuration import MVaEMaConfig
from micrographia.students.mvaema import MVaEMaForConditionalGeneration
from micrographia.students.processor import MVaEMaImageProcessor, MVaEMaProcessor
from micrographia.students.tokens import train_tokenizer
from micrographia.students.vision import VisionConfig
from micrographia.teach.generate import questions_asked
from micrographia.teach.lexicon import class_words
from micrographia.tune.card import CARD, Card, is_of
from micrographia.tune.collate import TextBatches, Texts, texts_by_micrograph
from micrographia.tune.corpus import Corpus, corpus_of
from micrographia.tune.features import PixelSight, Sight, look
from micrographia.tune.fit import Curve, Stage, fit
from micrographia.tune.labels import LabelSets, facts_by_micrograph, finding, label_sets, learn_labels
from micrographia.tune.order import Plain
from micrographia.tune.pixels import prepare, some_at_a_time
from micrographia.tune.plan import (
    label_order,
    plan,
    with_texts,
    without_too_long,
    word_order,
)
from micrographia.tune.precision import choose_once
from micrographia.workspace import Workspace

VOCABULARY = 2000


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
    corpus = corpus_of(workspace, fold or 0)
    fingerprint = corpus.fingerprint(workspace.recipe.tune)
    folder = workspace.student_folder(fold)
    training = folder.parent / f".{folder.name}-training-{fingerprint[:12]}"
    if not is_of(folder, fingerprint):
        _tune(workspace, corpus, fingerprint, folder, training, progress, say)
    for left_behind in folder.parent.glob(f".{folder.name}-training-*"):
        shutil.rmtree(left_behind)
    return folder


def _tune(
    workspace: Workspace,
    corpus: Corpus,
    fingerprint: str,
    folder: Path,
    training: Path,
    progress: Progress,
    say: Callable[[str], None],
) -> None:
    recipe = workspace.recipe.tune
    training.mkdir(parents=True, exist_ok=True)
    size = _vision(recipe.setting, 1).image_size
    pixels = prepare(workspace, corpus.micrographs, size, progress)
    processor = _processor(corpus, size, pixels.shape[1])
    sets = _label_sets(corpus)
    locked = recipe.labels.epochs != 0 and sets.known(corpus.parts["validation"])
    vision = _vision(recipe.setting, pixels.shape[1])
    torch.manual_seed(recipe.seed)
    model = MVaEMaForConditionalGeneration(
        _config(recipe, processor, finding(vision, sets) if locked else vision)
    )
    texts, left_out = _texts(corpus, processor, model.config.max_position_embeddings)
    precision = choose_once(training / "precision.json")
    parts = with_texts(corpus.parts, texts)
    planned = plan(parts, texts, left_out, corpus.untaught, model, recipe, locked, precision)
    for line in planned.lines():
        say(line)

    label_curve: Curve = []
    sight: Sight = PixelSight(pixels)
    train, validation = parts["train"], parts["validation"]
    if locked:
        eye, label_curve = learn_labels(
            *(vision, sets, pixels, label_order(train, recipe), Plain(validation), recipe.labels),
            *(training / "labels", precision, progress),
        )
        model.vision.load_state_dict(eye.encoder.state_dict())
        model.vision.requires_grad_(False)
        sight = look(eye.encoder, pixels, [*train, *validation], training / "features", progress)
    else:
        model.vision.settle(some_at_a_time(pixels, train))
    curve = fit(
        Stage("learning words", recipe.batch, recipe.learning_rate, recipe.patience),
        model,
        word_order(train, recipe),
        Plain(validation),
        TextBatches(sight, texts, corpus.groups, recipe),
        *(training / "words", precision, progress),
    )
    card = _card(workspace, corpus, parts, fingerprint, "\n".join(planned.lines()), label_curve, curve)
    _save(folder, training, model, processor, card)


def _texts(corpus: Corpus, processor: MVaEMaProcessor, longest: int) -> tuple[list[Texts], list[str]]:
    """Texts of each micrograph, in their order, and what is too long to be read."""
    every = texts_by_micrograph(corpus.conversations, processor)
    texts = [every.get(m.id, {}) for m in corpus.micrographs]
    return without_too_long(texts, [m.name for m in corpus.micrographs], longest)


def _label_sets(corpus: Corpus) -> LabelSets:
    facts = facts_by_micrograph(corpus.conversations)
    return label_sets([facts.get(m.id, {}) for m in corpus.micrographs], corpus.parts["train"])


def _vision(setting: str, channels: int) -> VisionConfig:
    if setting == "paper":
        return VisionConfig.paper(channels=channels, key_size=16)  # MVaEMa's, where MAEMI's eye has 32
    return VisionConfig.default(channels=channels)


def _processor(corpus: Corpus, size: int, channels: int) -> MVaEMaProcessor:
    taught = corpus.of("train")
    tokenizer = train_tokenizer([text for c in taught for text in (c.prompt, c.answer)], VOCABULARY)
    return MVaEMaProcessor(MVaEMaImageProcessor(size, channels), tokenizer)


def _config(recipe: TuneSection, processor: MVaEMaProcessor, vision: VisionConfig) -> MVaEMaConfig:
    make = MVaEMaConfig.paper if recipe.setting == "paper" else MVaEMaConfig.default
    return make(
        len(processor.tokenizer),
        vision_config=vision,
        itc=recipe.contrastive,
        itm=recipe.matching,
        lm=recipe.language,
    )


def _commonest_prompt(conversations: Sequence[Conversation], task: str, length: str) -> str:
    prompts = Counter(c.prompt for c in conversations if c.task == task and c.length == length)
    return min(prompts, key=lambda p: (-prompts[p], p)) if prompts else ""


def _card(
    workspace: Workspace,
    corpus: Corpus,
    parts: Mapping[str, Sequence[int]],
    fingerprint: str,
    plan_text: str,
    label_curve: Curve,
    curve: Curve,
) -> Card:
    taught = corpus.of("train")
    classes = sorted({m.label for row in parts["train"] if (m := corpus.micrographs[row]).label})
    return Card(
        fingerprint=fingerprint,
        classes=tuple(classes),
        class_texts=tuple(class_words(label) for label in classes),
        category_question=_commonest_prompt(taught, "category", "short"),
        caption_question=_commonest_prompt(taught, "caption", "long"),
        questions=questions_asked(taught),
        recipe=workspace.recipe.model_dump_json(exclude={"catalog", "workers"}),
        plan=plan_text,
        images=len(parts["train"]),
        seen=tuple(
            corpus.micrographs[row].id for part in ("train", "validation") for row in corpus.parts[part]
        ),
        label_curve=tuple(label_curve),
        curve=tuple(curve),
    )


def _save(
    folder: Path,
    training: Path,
    model: MVaEMaForConditionalGeneration,
    processor: MVaEMaProcessor,
    card: Card,
) -> None:
    """Written whole under another name, then put in place of what was there."""
    draft, old = training / "student", training / "replaced"
    model.save_pretrained(draft)
    processor.save_pretrained(draft)
    (draft / CARD).write_text(card.model_dump_json(indent=1), encoding="utf-8")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    draft.rename(folder)
