"""How MVaEMa is tuned: the eye by labels, then the words, all from nothing."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch

from micrographia.recipe import TuneSection
from micrographia.students.configuration import MVaEMaConfig, VisionConfig
from micrographia.students.mvaema import MVaEMaForConditionalGeneration
from micrographia.students.processor import MVaEMaProcessor
from micrographia.tune.collate import TextBatches, Texts, choose
from micrographia.tune.features import BlankSight, PixelSight, Sight, look
from micrographia.tune.fit import Curve, fit, words_stage
from micrographia.tune.memory import FEWEST_IMAGES, Footprint, Memory, Step, footprint, usable
from micrographia.tune.order import Draw, Plain
from micrographia.tune.pixels import some_at_a_time
from micrographia.tune.plan import plan, sample_tokens, squashed, with_texts, word_order
from micrographia.tune.processes import require_one
from micrographia.tune.run import Made, Run


def tune_mvaema(run: Run) -> Made:
    """Raises PlanError where the data do not suffice."""
    require_one("MVaEMa compares the images of a step with one another")
    recipe = run.recipe
    processor = MVaEMaProcessor(run.image_processor(), run.tokenizer())
    locked = run.labels_first
    torch.manual_seed(recipe.seed)
    model = MVaEMaForConditionalGeneration(_config(recipe, processor, run.vision))
    texts, left_out = run.texts(processor, model.config.max_position_embeddings)
    parts = with_texts(run.corpus.parts, texts)
    blank = BlankSight.of(model, run.pixels.shape)
    stages = [run.eye_footprint()] if locked else []
    stages.append(_footprint(run, model, blank, [texts[row] for row in parts["train"]]))
    memory = Memory(stages, usable(model), recipe.too_large == "accumulate")
    scaled = squashed(run.corpus.micrographs, run.pixels.shape)
    samples = sample_tokens(texts, blank.shapes["image_tokens"][0])
    planned = plan(
        *(parts, run.corpus.untaught, scaled, samples, left_out),
        *(model.num_parameters(), recipe, "labels" if locked else "words", run.precision, memory),
    )
    run.begin(planned)

    label_curve: Curve = []
    sight: Sight = PixelSight(run.pixels)
    train, validation = parts["train"], parts["validation"]
    if locked:
        eye, label_curve = run.learn_eye(train, validation)
        model.vision.load_state_dict(eye.state_dict())
        model.vision.requires_grad_(False)
        sight = look(
            model.eval(),
            run.pixels,
            [*train, *validation],
            run.folder / "features",
            run.progress,
            recipe.views,
        )
    else:
        model.vision.settle(some_at_a_time(run.pixels, train))
    curve = fit(
        words_stage(recipe),
        model,
        word_order(train, recipe),
        Plain(validation),
        TextBatches(sight, texts, run.corpus.groups, recipe),
        *(run.folder / "words", run.precision, run.progress),
    )
    return Made(model, processor, parts, "\n".join(planned.lines()), label_curve, curve)


def _footprint(
    run: Run, model: MVaEMaForConditionalGeneration, blank: BlankSight, texts: Sequence[Texts]
) -> Footprint:
    """Of learning words, tried on a copy with images each of which brings texts as long as the longest."""
    recipe, learner = run.recipe, copy.deepcopy(model)
    sight = BlankSight({"pixel_values": run.pixels.shape[1:]})
    if run.labels_first:
        learner.vision.requires_grad_(False)
        sight = blank
    most = max(len(choose(image, Draw(0, None), recipe.texts_per_image, 0)) for image in texts)
    longest = max(
        (text for image in texts for some in image.values() for text in some), key=lambda text: text.length
    )
    answer = max((answer for answer in longest.answers if answer), key=len)
    captions = [
        replace(longest, task="caption", answers=([model.config.vocab_size - 1 - image, *answer[1:]],))
        for image in range(2 * FEWEST_IMAGES)  # no two alike, so that there are negatives for ITM
    ]
    stand_ins: list[Texts] = [
        {"caption": [c], "category": [c][: most - 1], "vqa": [c] * (most - 2)} for c in captions
    ]
    batches = TextBatches(sight, stand_ins, range(len(captions)), recipe)
    return footprint(
        Step("learning words", "tune.batch", recipe.batch, recipe.batch),
        *(learner, lambda images: batches([Draw(image, None) for image in range(images)]), run.precision),
        fewest=FEWEST_IMAGES,
    )


def _config(recipe: TuneSection, processor: MVaEMaProcessor, vision: VisionConfig) -> MVaEMaConfig:
    make = MVaEMaConfig.paper if recipe.setting == "paper" else MVaEMaConfig.default
    return make(
        len(processor.tokenizer),
        vision_config=vision,
        itc=recipe.contrastive,
        itm=recipe.matching,
        lm=recipe.language,
        self_attention=recipe.self_attention,
        cross_attention=recipe.cross_attention,
        causal_attention=recipe.causal_attention,
    )
