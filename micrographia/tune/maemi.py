"""How MAEMI is tuned from nothing: the eye by labels, a language model by the lab's texts; then both are
frozen, and the gated cross-attention between them learns, with low-rank adapters of the language model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from micrographia.adapt.dyqlora_fa import TYPE
from micrographia.adapt.lean_loss import without_logits
from micrographia.adapt.methods import adapted
from micrographia.adapt.ranks import DrawRanks
from micrographia.errors import PlanError
from micrographia.students.maemi import MAEMIForConditionalGeneration
from micrographia.students.prompts import MAEMIProcessor, with_places
from micrographia.students.vision import VisionEncoder
from micrographia.tune.collate import SightedBatches, Texts
from micrographia.tune.features import look
from micrographia.tune.fit import Stage, fit
from micrographia.tune.language import LanguageStage, Passage, learn_language, small_language_model
from micrographia.tune.order import Plain
from micrographia.tune.plan import plan, with_texts, word_order
from micrographia.tune.run import Made, Run

LONGEST = 256
"""Tokens of a text, its image's place among them."""
SIZES = {
    "cross_attention_every": 1,
    "cross_attention_heads": 4,
    "cross_attention_key_size": 32,
    "feed_forward_factor": 2,
}
"""Of the blocks of a small language model; those of a large one stand in ``MAEMIConfig``."""


def tune_maemi(run: Run) -> Made:
    """Raises PlanError where the data do not suffice."""
    recipe = run.recipe
    if not run.labels_first:
        raise PlanError(
            "MAEMI's eye is frozen while words are learned, and there are no labels to teach it by",
            "give the training and validation images labels, and leave tune.labels.epochs above 0",
        )
    processor = MAEMIProcessor(run.image_processor(), with_places(run.tokenizer()))
    torch.manual_seed(recipe.seed)
    model = MAEMIForConditionalGeneration.of(
        small_language_model(processor.tokenizer, LONGEST),
        VisionEncoder(run.vision),
        image_token_id=processor.image_token_id,
        **SIZES,
    )
    model.generation_config.max_new_tokens = LONGEST // 2
    texts, left_out = run.texts(processor, LONGEST)
    parts = with_texts(run.corpus.parts, texts)
    planned = plan(parts, texts, left_out, run.corpus.untaught, model, recipe, True, run.precision)
    for line in planned.lines():
        run.say(line)

    train, validation = parts["train"], parts["validation"]
    eye, label_curve = run.learn_eye(train, validation)
    model.vision.load_state_dict(eye.state_dict())
    _learn_language(run, model, passages(texts, train))
    curve = _learn_sight(run, model, texts, parts)
    return Made(model, processor, parts, "\n".join(planned.lines()), label_curve, curve)


def passages(texts: Sequence[Texts], rows: Sequence[int]) -> list[Passage]:
    """Each question with its answer once, however many images have it."""
    pairs = {
        (*text.question, *answer): None
        for row in rows
        for by_task in texts[row].values()
        for text in by_task
        for answer in text.answers
        if answer
    }
    return [Passage(ids) for ids in pairs]


def _learn_language(run: Run, model: MAEMIForConditionalGeneration, read: Sequence[Passage]) -> None:
    """The language model alone; what stands before its layers is closed yet."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("language_model.") and ".sight." not in name)
    asked = run.recipe.language_model
    stage = LanguageStage(asked.steps, learning_rate=asked.learning_rate, seed=run.recipe.seed)
    learn_language(model.language_model, read, stage, run.folder / "language", run.precision, run.progress)
    model.freeze()


def _learn_sight(
    run: Run,
    model: MAEMIForConditionalGeneration,
    texts: Sequence[Texts],
    parts: Mapping[str, Sequence[int]],
) -> list[dict[str, float]]:
    """What stands between eye and language model, and the adapters, which end as part of the weights."""
    recipe, (train, validation) = run.recipe, (parts["train"], parts["validation"])
    sight = look(model.vision, run.pixels, [*train, *validation], run.folder / "features", run.progress)
    without_logits(model.language_model)
    learner = model if recipe.low_rank.method == "none" else adapted(model, recipe.low_rank, recipe.seed)
    dynamic = recipe.low_rank.method == TYPE.lower()
    curve = fit(
        Stage("learning words", recipe.batch, recipe.learning_rate, recipe.patience),
        learner,
        word_order(train, recipe),
        Plain(validation),
        SightedBatches(sight, texts, run.corpus.groups, recipe),
        *(run.folder / "words", run.precision, run.progress),
        [DrawRanks()] if dynamic else [],
    )
    if learner is not model:
        learner.merge_and_unload()
    return curve
