"""The tuning stage: from a workspace with conversations to a student in its folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from micrographia.engine import SILENT, Progress
from micrographia.errors import PlanError, StudentError
from micrographia.recipe import TuneSection
from micrographia.records import Conversation, Micrograph
from micrographia.students.configuration import MVaEMaConfig
from micrographia.students.mvaema import MVaEMaForConditionalGeneration
from micrographia.students.processor import MVaEMaImageProcessor, MVaEMaProcessor
from micrographia.students.tokens import train_tokenizer
from micrographia.students.vision import VisionConfig
from micrographia.teach.generate import current_course
from micrographia.teach.lexicon import class_words
from micrographia.tune.card import CARD, Card, read_card
from micrographia.tune.collate import TextBatches, Texts, texts_by_micrograph
from micrographia.tune.features import PixelSight, Sight, look
from micrographia.tune.fit import Curve, Stage, fit
from micrographia.tune.labels import LabelSets, facts_by_micrograph, finding, label_sets, learn_labels
from micrographia.tune.order import Plain
from micrographia.tune.pixels import prepare, some_at_a_time
from micrographia.tune.plan import (
    label_order,
    plan,
    require_learners,
    with_texts,
    without_too_long,
    word_order,
)
from micrographia.tune.precision import choose_once
from micrographia.workspace import Workspace

VERSION = 3
"""Counts up when the same recipe and data make another student."""

VOCABULARY = 2000


@dataclass(frozen=True)
class Corpus:
    """What a student learns from: images in the order of their ids, with all their conversations."""

    micrographs: list[Micrograph]
    conversations: list[Conversation]
    parts: dict[str, list[int]]
    """Rows of the images of each part that have conversations."""

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each micrograph."""
        return {m.id: row for row, m in enumerate(self.micrographs)}

    def of(self, part: str) -> list[Conversation]:
        """The conversations of one part."""
        rows = set(self.parts[part])
        return [c for c in self.conversations if self.rows[c.micrographs[0]] in rows]


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
    corpus = _corpus(workspace, fold or 0)
    fingerprint = _fingerprint(workspace, corpus)
    folder = workspace.student_folder(fold)
    training = folder.parent / f".{folder.name}-training-{fingerprint[:12]}"
    if _fingerprint_of(folder) != fingerprint:
        _tune(workspace, corpus, fingerprint, folder, training, progress, say)
    for left_behind in folder.parent.glob(f".{folder.name}-training-*"):
        shutil.rmtree(left_behind)
    return folder


def _fingerprint_of(folder: Path) -> str | None:
    """Of the student that is there; one of another version, whose card cannot be read, is made anew."""
    try:
        card = read_card(folder)
    except StudentError:
        return None
    return card.fingerprint if card else None


def _corpus(workspace: Workspace, fold: int) -> Corpus:
    catalog = workspace.catalog
    conversations = list(catalog.conversations(current_course(workspace)))
    if not conversations:
        raise PlanError(
            "there are no conversations of the recipe's course", "teach first: micrographia teach"
        )
    part_of = catalog.parts(fold)
    taught = {c.micrographs[0] for c in conversations}
    micrographs = [m for m in catalog.micrographs() if m.id in taught]
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for row, micrograph in enumerate(micrographs):
        if micrograph.id in part_of:
            parts[part_of[micrograph.id]].append(row)
    require_learners(parts)
    return Corpus(micrographs, conversations, parts)


def _fingerprint(workspace: Workspace, corpus: Corpus) -> str:
    recipe = workspace.recipe.tune.model_dump_json(exclude={"name"})
    texts = (f"{c.id} {c.prompt} {c.answer}" for c in corpus.conversations)
    division = json.dumps([corpus.parts, _groups(workspace, corpus)])
    content = [str(VERSION), recipe, *texts, division]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()


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
    untaught = len(workspace.catalog.micrographs()) - len(corpus.micrographs)
    planned = plan(parts, texts, left_out, untaught, model, recipe, locked, precision)
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
        TextBatches(sight, texts, _groups(workspace, corpus), recipe),
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


def _groups(workspace: Workspace, corpus: Corpus) -> list[int]:
    """One number for all images that are bound together."""
    group_of = workspace.catalog.groups()
    names = [group_of[m.id] for m in corpus.micrographs]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


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
        recipe=workspace.recipe.model_dump_json(),
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
