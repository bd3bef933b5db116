"""How MAEMI and LLaVA are tuned: an eye and a language model, our own that learn here from nothing or yours,
are joined; then what stands between them learns, and the language model by low-rank adapters or whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from micrographia.adapt.lean_loss import without_logits
from micrographia.adapt.methods import adapted, rank_draws, settle
from micrographia.recipe import TuneSection
from micrographia.students.llava import SightedLlava
from micrographia.students.maemi import MAEMIForConditionalGeneration
from micrographia.students.prompts import IMAGE_TOKEN, MAEMIProcessor
from micrographia.teach.lexicon import class_words
from micrographia.tune import processes
from micrographia.tune.collate import Texts
from micrographia.tune.demonstrations import in_words, likest, shown_and_asked
from micrographia.tune.features import BlankSight, FeatureSight, look, look_once
from micrographia.tune.fit import Curve, Stage, fit, words_stage
from micrographia.tune.language import LanguageStage, Passage, language_order, learn_language
from micrographia.tune.memory import Footprint, Memory, footprint, light_copy, usable, words_step
from micrographia.tune.order import Order, Plain
from micrographia.tune.parts import Eye, Language, eye_of, language_of
from micrographia.tune.plan import epochs_of, plan, sample_tokens, squashed, with_texts, word_order
from micrographia.tune.run import ADAPTER, ROOM, Made, Run
from micrographia.tune.samples import NO_DEMONSTRATIONS, Demonstrations, SightedBatches, batch_of

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
    return _tune(run, partial(_maemi, sees=run.recipe.sees))


def tune_llava(run: Run) -> Made:
    """Raises PlanError where the data do not suffice."""
    return _tune(run, _llava)


def _maemi(eye: Eye, language: Language, sees: str) -> Joined:
    processor = MAEMIProcessor(eye.image_processor, language.tokenizer)
    sizes = SMALL if language.learns else {}
    model = MAEMIForConditionalGeneration.of(
        language.model, eye.vision, image_token_id=processor.image_token_id, sees=sees, **sizes
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
    places = joined.processor.image_seq_length
    texts, left_out = run.texts(joined.processor, min(language.longest + places, language.positions), places)
    parts = with_texts(run.corpus.parts, texts)
    pool, asked = shown_and_asked(run, parts)
    turns = turns_of(run, joined.processor, pool)
    blank = BlankSight.of(joined.model, eye.pixels.shape)
    trial = SightedBatches(
        *(blank, texts, run.recipe, joined.processor, joined.together),
        *(longest_shown(turns, asked, run.recipe.demonstrations), language.positions),
    )
    memory = Memory(
        _footprints(run, joined, eye, trial, parts["train"]),
        *(usable(joined.model), run.recipe.too_large == "accumulate"),
    )
    read = passages(texts, parts["train"], joined.processor) if language.learns else []
    scaled = squashed(run.corpus.micrographs, eye.pixels.shape)
    samples = sample_tokens(texts, blank.shapes["image_tokens"][0], places)
    planned = plan(
        *(parts, run.corpus.untaught, scaled, samples, left_out),
        *(
            joined.model.num_parameters(),
            run.recipe,
            "labels" if eye.learns else "nothing",
            run.precision,
            memory,
        ),
        shown=in_words(run.recipe.demonstrations, _fitting(trial, asked)),
        between=_between(run.recipe, read, parts["train"]),
    )
    run.begin(planned)

    label_curve: Curve = []
    if eye.learns:
        learned, label_curve = run.learn_eye(parts["train"], parts["validation"])
        joined.vision.load_state_dict(learned.state_dict())
    if language.learns:
        _learn_language(run, joined, read)
    sight = _look(run, joined, eye, [*parts["train"], *parts["validation"]])
    shown = _demonstrations(run, turns, sight, pool, asked)
    batches = SightedBatches(
        *(sight, texts, run.recipe, joined.processor, joined.together, shown),
        *(language.positions, memory.room_once(run.folder / ROOM)),
    )
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


def _between(recipe: TuneSection, read: Sequence[Passage], train: Sequence[int]) -> dict[str, int]:
    """Steps of the stages that lie between the eye's and the words."""
    steps = {}
    if read:
        stage = _language_stage(recipe)
        steps["language"] = math.prod(language_order(len(read), stage).rounds(stage.batch))
    if _projects(recipe):
        steps["projector"] = math.prod(_project_order(train, recipe).rounds(recipe.batch))
    return steps


def _language_stage(recipe: TuneSection) -> LanguageStage:
    asked = recipe.language_model
    return LanguageStage(asked.steps, learning_rate=asked.learning_rate, seed=recipe.seed)


def _learn_language(run: Run, joined: Joined, read: Sequence[Passage]) -> None:
    """The language model alone; what is to stand between it and the eye keeps out of its way."""
    speaker = joined.speaker.requires_grad_(False)
    for part in (speaker.get_decoder(), speaker.get_output_embeddings()):
        for name, parameter in part.named_parameters():
            parameter.requires_grad_(".sight." not in name)
    stage = _language_stage(run.recipe)
    learn_language(speaker, read, stage, run.folder / "language", run.precision, run.progress)
    joined.model.freeze()


def _look(run: Run, joined: Joined, eye: Eye, rows: Sequence[int]) -> FeatureSight:
    """What a given eye has seen is kept in the workspace for every student; what our own has, for this
    one."""
    model, views = joined.model.eval().to(processes.device()), run.recipe.views
    if eye.learns:
        sight = look(model, eye.pixels, rows, run.folder / "features", run.progress, views)
    else:
        # A tower of LLaVA gives another layer than one of MAEMI.
        folder = run.workspace.folder / "cache" / f"features-{run.recipe.family}-{views}-{eye.key}"
        sight = look_once(model, eye.pixels, eye.image_keys, rows, folder, run.progress, views)
    model.to("cpu")  # a GPU that is to have a part of it has no room for the whole
    return sight


def turns_of(run: Run, processor: MAEMIProcessor, pool: Sequence[int]) -> dict[int, list[int]]:
    """Of each row that can be shown its question and label, as token ids."""
    question = run.corpus.commonest_prompt("category", "short")
    labels = {row: class_words(str(run.corpus.micrographs[row].label)) for row in pool}
    return {row: processor.demonstration(question, labels[row]) for row in pool}


def longest_shown(turns: Mapping[int, list[int]], asked: Sequence[int], count: int) -> Demonstrations:
    """Before each row the longest of the turns: no others take up more."""
    longest = sorted(turns, key=lambda row: len(turns[row]))[-count:]
    return Demonstrations(dict.fromkeys(asked, longest), turns)


def _fitting(trial: SightedBatches, asked: Sequence[int]) -> list[int]:
    """How many demonstrations fit before the questions of each row."""
    return [
        max(len(sample.images) for rows in trial.largest(row) for sample in rows) - 1
        for row in asked
        if trial.texts[row].get("category")
    ]


def _footprints(
    run: Run, joined: Joined, eye: Eye, trial: SightedBatches, train: Sequence[int]
) -> list[Footprint]:
    """Of all stages whose batch the recipe sets, tried on copies that share the model's weights."""
    recipe = run.recipe
    largest = (rows for row in train for rows in trial.largest(row))
    shorter, fewer = ["demonstrations"], ["texts_per_image"]
    if joined.together:
        shorter, fewer = [*shorter, *fewer], []
    words, longest = words_step(recipe, largest, lambda sample: sample.length, shorter, fewer)

    def batches(count: int) -> dict[str, Any]:
        return batch_of([longest] * count, trial.sight)

    stages = [run.eye_footprint()] if eye.learns else []
    with torch.random.fork_rng():
        learner = light_copy(joined.model)
        _leave_logits(learner)
        if _projects(recipe):
            project = replace(words, stage="learning to project", optimizer="muon")
            stages.append(footprint(project, learner, batches, run.precision))
        learner = adapted(learner, recipe.low_rank, recipe.seed)
        return [*stages, footprint(words, learner, batches, run.precision)]


def _demonstrations(
    run: Run,
    turns: Mapping[int, list[int]],
    sight: FeatureSight,
    pool: Sequence[int],
    asked: Sequence[int],
) -> Demonstrations:
    if not asked:
        return NO_DEMONSTRATIONS
    return Demonstrations(likest(run, sight.cls[:, 0].astype(np.float32), pool, asked), turns)


def _leave_logits(model: Any) -> None:
    without_logits(model.language_model if hasattr(model, "language_model") else model)


def _projects(recipe: TuneSection) -> bool:
    return recipe.family == "llava" and recipe.projector.epochs != 0


def _project_order(train: Sequence[int], recipe: TuneSection) -> Order:
    epochs = epochs_of(recipe.projector.epochs, train, recipe.batch, PROJECTOR_STEPS, fewest=1)
    return Order(train, epochs, recipe.seed)


def _learn_sight(
    run: Run, model: Any, batches: SightedBatches, parts: Mapping[str, Sequence[int]]
) -> list[dict[str, float]]:
    """What stands between eye and language model, and this as the recipe says; adapters end as part of the
    weights and are kept beside them."""
    recipe, (train, validation) = run.recipe, (parts["train"], Plain(parts["validation"]))
    _leave_logits(model)
    if _projects(recipe):
        fit(
            Stage(
                *("learning to project", recipe.batch, recipe.projector.learning_rate),
                checkpointing=recipe.gradient_checkpointing,
            ),
            *(model, _project_order(train, recipe), validation, batches),
            *(run.folder / "projector", run.precision, run.progress),
        )
    learner = adapted(model, recipe.low_rank, recipe.seed)
    curve = fit(
        words_stage(recipe),
        *(learner, word_order(train, recipe), validation, batches),
        *(run.folder / "words", run.precision, run.progress),
        rank_draws(recipe.low_rank),
    )
    settle(learner, run.folder / ADAPTER if processes.is_first() else None)
    return curve
