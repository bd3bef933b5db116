"""How MAEMI and LLaVA are tuned: an eye and a language model, our own that learn here from nothing or yours,
are frozen; then what stands between them learns, with low-rank adapters of the language model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from micrographia.adapt.dyqlora_fa import TYPE
from micrographia.adapt.lean_loss import without_logits
from micrographia.adapt.methods import adapted, settle
from micrographia.adapt.ranks import DrawRanks
from micrographia.errors import PlanError
from micrographia.students.llava import SightedLlava
from micrographia.students.maemi import MAEMIForConditionalGeneration
from micrographia.students.prompts import IMAGE_TOKEN, MAEMIProcessor
from micrographia.teach.lexicon import class_words
from micrographia.teach.sampling import most_similar
from micrographia.tune.collate import Texts
from micrographia.tune.features import FeatureSight, look
from micrographia.tune.fit import Curve, Stage, fit
from micrographia.tune.language import LanguageStage, Passage, learn_language
from micrographia.tune.order import Order, Plain
from micrographia.tune.parts import Eye, Language, eye_of, language_of
from micrographia.tune.plan import epochs_of, plan, with_texts, word_order
from micrographia.tune.processes import is_first
from micrographia.tune.run import ADAPTER, Made, Run
from micrographia.tune.samples import NO_DEMONSTRATIONS, Demonstrations, SightedBatches

SMALL = {
    "cross_attention_every": 1,
    "cross_attention_heads": 4,
    "cross_attention_key_size": 32,
    "feed_forward_factor": 2,
}
"""Of the blocks of a small language model; those of a large one stand in ``MAEMIConfig``."""

PROJECTOR_STEPS = 60


@dataclass(frozen=True)
class Joined:
    """A student that knows nothing of images yet; what stands between eye and language is all that learns."""

    model: Any
    processor: MAEMIProcessor
    vision: PreTrainedModel
    """Its eye."""
    speaker: PreTrainedModel
    """What of it speaks without an image."""
    together: bool
    """Whether the texts of an image share one row: worth it where the image is part of the text."""


def tune_maemi(run: Run) -> Made:
    """Raises PlanError where the data do not suffice."""
    return _tune(run, _maemi)


def tune_llava(run: Run) -> Made:
    """Raises PlanError where the data do not suffice."""
    return _tune(run, _llava)


def _maemi(eye: Eye, language: Language) -> Joined:
    processor = MAEMIProcessor(eye.image_processor, language.tokenizer)
    sizes = SMALL if language.learns else {}
    model = MAEMIForConditionalGeneration.of(
        language.model, eye.vision, image_token_id=processor.image_token_id, **sizes
    )
    return Joined(model, processor, model.vision, model.language_model, together=False)


def _llava(eye: Eye, language: Language) -> Joined:
    image_token_id = language.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    model = SightedLlava.of(language.model, eye.vision, image_token_id)
    with torch.no_grad():
        places = model.look(torch.zeros(1, *eye.pixels.shape[1:])).shape[1]
    processor = MAEMIProcessor(eye.image_processor, language.tokenizer, places)
    return Joined(model, processor, model.model.vision_tower, model, together=True)


def _tune(run: Run, join: Callable[[Eye, Language], Joined]) -> Made:
    torch.manual_seed(run.recipe.seed)
    eye, language = eye_of(run), language_of(run)
    joined = join(eye, language)
    texts, left_out = run.texts(joined.processor, language.longest + joined.processor.image_seq_length)
    parts = with_texts(run.corpus.parts, texts)
    planned = plan(
        *(parts, texts, left_out, run.corpus.untaught, joined.model, run.recipe, eye.learns, run.precision),
        eye.pixels.shape,
    )
    pool, asked = shown_and_asked(run, parts)
    for line in planned.lines():
        run.say(line)

    label_curve: Curve = []
    if eye.learns:
        learned, label_curve = run.learn_eye(parts["train"], parts["validation"])
        joined.vision.load_state_dict(learned.state_dict())
    if language.learns:
        _learn_language(run, joined, passages(texts, parts["train"], joined.processor))
    sight = _look(run, joined, eye, [*parts["train"], *parts["validation"]])
    shown = demonstrations(run, joined.processor, sight, pool, asked)
    batches = SightedBatches(sight, texts, run.recipe, joined.processor, joined.together, shown)
    curve = _learn_sight(run, joined.model, batches, parts)
    lines = "\n".join(planned.lines())
    return Made(joined.model, joined.processor, parts, lines, label_curve, curve, shown.rows)


def passages(texts: Sequence[Texts], rows: Sequence[int], processor: MAEMIProcessor) -> list[Passage]:
    """Each question with its answer once, however many images have it; an image's place is one token."""
    first, after = len(processor.opening) + 1, len(processor.opening) + len(processor.place)
    pairs = {
        (*text.question[:first], *text.question[after:], *answer): None
        for row in rows
        for by_task in texts[row].values()
        for text in by_task
        for answer in text.answers
        if answer
    }
    return [Passage(ids) for ids in pairs]


def _learn_language(run: Run, joined: Joined, read: Sequence[Passage]) -> None:
    """The language model alone; what is to stand between it and the eye keeps out of its way."""
    speaker = joined.speaker.requires_grad_(False)
    for part in (speaker.get_decoder(), speaker.get_output_embeddings()):
        for name, parameter in part.named_parameters():
            parameter.requires_grad_(".sight." not in name)
    asked = run.recipe.language_model
    stage = LanguageStage(asked.steps, learning_rate=asked.learning_rate, seed=run.recipe.seed)
    learn_language(speaker, read, stage, run.folder / "language", run.precision, run.progress)
    joined.model.freeze()


def _look(run: Run, joined: Joined, eye: Eye, rows: Sequence[int]) -> FeatureSight:
    """What a given eye has seen is kept in the workspace for every student; what our own has, for this
    one."""
    folder = run.folder / "features"
    if not eye.learns:
        folder = run.workspace.folder / "cache" / f"features-{eye.key}-{run.recipe.views}"
    return look(joined.model.eval(), eye.pixels, rows, folder, run.progress, run.recipe.views)


def shown_and_asked(run: Run, parts: Mapping[str, Sequence[int]]) -> tuple[list[int], list[int]]:
    """Rows of the labelled training images, which can be shown, and of all that are shown others; none where
    the recipe asks for no demonstrations. Raises PlanError where there are too few."""
    count, groups = run.recipe.demonstrations, run.corpus.groups
    if not (count and run.corpus.commonest_prompt("category", "short")):
        return [], []
    labelled = {
        part: [row for row in parts[part] if run.corpus.micrographs[row].label]
        for part in ("train", "validation")
    }
    pool, asked = labelled["train"], labelled["train"] + labelled["validation"]
    of_group = Counter(groups[row] for row in pool)
    fewest = min(len(pool) - of_group[groups[row]] for row in asked) if asked else 0
    if fewest < count:
        raise PlanError(
            f"tune.demonstrations is {count}, and for some image there are only {fewest} training images of "
            "other groups that have a label",
            "ask for fewer demonstrations, or label more images",
        )
    return pool, asked


def demonstrations(
    run: Run, processor: MAEMIProcessor, sight: FeatureSight, pool: Sequence[int], asked: Sequence[int]
) -> Demonstrations:
    """Of each row that is asked about, those of the pool most like it, of other groups, the likest last."""
    if not asked:
        return NO_DEMONSTRATIONS
    placed, groups = sight.cls[:, 0].astype(np.float32), np.asarray(run.corpus.groups)
    found = most_similar(
        *(placed[pool], placed[asked], run.recipe.demonstrations),
        *(groups[pool].tolist(), groups[asked].tolist()),
    )
    rows = {
        row: [pool[place] for place in reversed(places)]
        for row, places in zip(asked, found.rows.tolist(), strict=True)
    }
    question = run.corpus.commonest_prompt("category", "short")
    labels = {row: class_words(str(run.corpus.micrographs[row].label)) for row in pool}
    return Demonstrations(rows, {row: processor.demonstration(question, labels[row]) for row in pool})


def _learn_sight(
    run: Run, model: Any, batches: SightedBatches, parts: Mapping[str, Sequence[int]]
) -> list[dict[str, float]]:
    """What stands between eye and language model, and the adapters, which end as part of the weights and are
    kept beside them."""
    recipe, (train, validation) = run.recipe, (parts["train"], Plain(parts["validation"]))
    without_logits(model.language_model if hasattr(model, "language_model") else model)
    if recipe.family == "llava" and recipe.projector.epochs != 0:
        epochs = epochs_of(recipe.projector.epochs, train, recipe.batch, PROJECTOR_STEPS, fewest=1)
        fit(
            Stage("learning to project", recipe.batch, recipe.projector.learning_rate),
            *(model, Order(train, epochs, recipe.seed), validation, batches),
            *(run.folder / "projector", run.precision, run.progress),
        )
    learner = model if recipe.low_rank.method == "none" else adapted(model, recipe.low_rank, recipe.seed)
    dynamic = recipe.low_rank.method == TYPE.lower()
    curve = fit(
        Stage("learning words", recipe.batch, recipe.learning_rate, recipe.patience),
        *(learner, word_order(train, recipe), validation, batches),
        *(run.folder / "words", run.precision, run.progress),
        [DrawRanks()] if dynamic else [],
    )
    if learner is not model:
        settle(learner, run.folder / ADAPTER if is_first() else None)
    return curve
