"""How MVaEMa is tuned: the eye by labels, then the words, all from nothing."""

from __future__ import annotations

import torch

from micrographia.recipe import TuneSection
from micrographia.students.configuration import MVaEMaConfig, VisionConfig
from micrographia.students.mvaema import MVaEMaForConditionalGeneration
from micrographia.students.processor import MVaEMaProcessor
from micrographia.tune.collate import TextBatches
from micrographia.tune.features import PixelSight, Sight, look
from micrographia.tune.fit import Curve, Stage, fit
from micrographia.tune.order import Plain
from micrographia.tune.pixels import some_at_a_time
from micrographia.tune.plan import plan, with_texts, word_order
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
    planned = plan(
        *(parts, texts, left_out, run.corpus.untaught, model, recipe, locked, run.precision), run.pixels.shape
    )
    for line in planned.lines():
        run.say(line)

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
        Stage("learning words", recipe.batch, recipe.rate, patience=recipe.patience),
        model,
        word_order(train, recipe),
        Plain(validation),
        TextBatches(sight, texts, run.corpus.groups, recipe),
        *(run.folder / "words", run.precision, run.progress),
    )
    return Made(model, processor, parts, "\n".join(planned.lines()), label_curve, curve)


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
