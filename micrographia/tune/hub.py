"""How a vision-language model of the hub is tuned: frozen, with adapters on its language model, or all but
its eye, on chats by its own template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForImageTextToText

from micrographia.adapt.lean_loss import without_logits
from micrographia.adapt.methods import adapted, rank_draws, require_machine, settle
from micrographia.errors import PlanError, StudentError
from micrographia.micrographs.field import open_field
from micrographia.students.chat import SMALL, ChatProcessor
from micrographia.students.chat_template import Exchange
from micrographia.students.hub import embed
from micrographia.students.plain_generation import plain
from micrographia.students.prompts import IMAGE
from micrographia.tune.chats import ChatBatches, Counted, Verbatim
from micrographia.tune.collate import texts_by_micrograph
from micrographia.tune.demonstrations import in_words, likest, shown_and_asked
from micrographia.tune.fit import fit, words_stage
from micrographia.tune.memory import Footprint, Memory, footprint, light_copy, usable, words_step
from micrographia.tune.order import Plain
from micrographia.tune.parts import UNREADABLE, folder_of, refused, whole_model
from micrographia.tune.plan import Scaled, field_size, plan, with_texts, word_order
from micrographia.tune.processes import are_sharding, device, is_first
from micrographia.tune.run import ADAPTER, ROOM, Made, Run

LONGEST_ANSWER = 256
"""Tokens, where the model's own settings name no limit."""


def tune_hub(run: Run) -> Made:
    """Raises PlanError where the data do not suffice or the folder holds no model that can be tuned."""
    require_machine(run.recipe.low_rank, are_sharding())
    model, chats = _given(run)
    every = texts_by_micrograph(run.corpus.conversations, Verbatim())
    counted = Counted(chats, run.corpus.micrographs, run.recipe.views)
    texts, left_out = counted.readable([every.get(m.id, {}) for m in run.corpus.micrographs])
    parts = with_texts(run.corpus.parts, texts)
    pool, asked = shown_and_asked(run, parts)
    trial = ChatBatches(
        run, counted, texts, dict.fromkeys(asked, counted.largest(pool, run.recipe.demonstrations))
    )
    memory = Memory(
        [_footprint(run, model, trial, parts["train"])],
        *(usable(model), run.recipe.too_large == "accumulate"),
    )
    scales = [chats.seen(field_size(m)).scale for m in run.corpus.micrographs]
    scaled = Scaled("its aspect kept", min(scales), max(scales))
    planned = plan(
        *(parts, run.corpus.untaught, scaled, counted.samples(texts), left_out),
        *(model.num_parameters(), run.recipe, "nothing", run.precision, memory),
        shown=in_words(
            run.recipe.demonstrations,
            [trial.fitting(row) for row in asked if texts[row].get("category")],
        ),
    )
    run.begin(planned)

    shown: dict[int, list[int]] = {}
    if asked:
        shown = likest(run, _placed(run, model, chats, sorted({*pool, *asked})), pool, asked)
    batches = ChatBatches(run, counted, texts, shown, memory.room_once(run.folder / ROOM))
    curve = _learn(run, model, batches, parts)
    return Made(model, chats, parts, "\n".join(planned.lines()), [], curve, shown)


def _given(run: Run) -> tuple[Any, ChatProcessor]:
    recipe = run.recipe
    folder = folder_of(run, str(recipe.start_from), "tune.start_from")
    try:
        model = whole_model(AutoModelForImageTextToText, folder)
        reads = model.config.get_text_config().max_position_embeddings
        chats = ChatProcessor.from_pretrained(folder, recipe.max_pixels, min(recipe.longest or reads, reads))
    except UNREADABLE as error:
        raise refused("tune.start_from", folder, error) from error
    except StudentError as error:
        raise PlanError(
            f"tune.start_from is {recipe.start_from!r}: {error.what}",
            f"hub needs a chat model of the hub, such as Qwen3-VL or LLaVA; {error.remedy}",
        ) from error
    model.generation_config = plain(
        model.generation_config,
        eos_token_id=chats.end_id,
        pad_token_id=chats.pad_id,
        max_new_tokens=model.generation_config.max_new_tokens or LONGEST_ANSWER,
    )
    _require_room(chats, model.generation_config.max_new_tokens)
    return model.requires_grad_(False), chats


def _require_room(chats: ChatProcessor, answer: int) -> None:
    """Raises PlanError where no question about a small image would fit beside an answer."""
    least = chats.tokens([Exchange([IMAGE, "What?"])], [SMALL]).total + answer
    if chats.longest is not None and chats.longest < least:
        raise PlanError(
            f"tune.longest is {chats.longest} tokens, and a question about a small image with room for an "
            f"answer of {answer} takes {least}",
            "allow more tokens",
        )


def _footprint(run: Run, model: Any, trial: ChatBatches, train: Sequence[int]) -> Footprint:
    """Of the one stage, tried on the longest row that a training image brings."""
    recipe, counted = run.recipe, trial.counted
    largest = (rows for image in train for rows in trial.largest(image))
    small = counted.chats.seen(SMALL).tokens
    scaled = any(counted.image((image, 0)) > small for image in train)
    shorter = ["demonstrations", *["max_pixels"] * scaled, "longest"]
    step, longest = words_step(recipe, largest, trial.length, shorter, ["texts_per_image"])
    with torch.random.fork_rng():
        learner = light_copy(model)
        without_logits(learner)
        learner = adapted(learner, recipe.low_rank, recipe.seed)
        return footprint(step, learner, lambda rows: trial.batch([longest] * rows), run.precision)


def _placed(run: Run, model: Any, chats: ChatProcessor, rows: Sequence[int]) -> Any:
    """Where the model puts the images of ``rows``; other rows hold zeros."""
    placed: Any = None
    model.eval().to(device())
    run.progress.begin("looking at the images", len(rows), "images")
    for row in rows:
        image = open_field(run.workspace.objects, run.corpus.micrographs[row])
        one = embed(model, chats, [image])[0].float().cpu().numpy()
        placed = np.zeros((len(run.corpus.micrographs), len(one)), np.float32) if placed is None else placed
        placed[row] = one
        run.progress.advance()
    run.progress.end()
    model.to("cpu")  # a GPU that is to have a part of it has no room for the whole
    return placed


def _learn(
    run: Run, model: Any, batches: ChatBatches, parts: Mapping[str, Sequence[int]]
) -> list[dict[str, float]]:
    recipe = run.recipe
    torch.manual_seed(recipe.seed)
    without_logits(model)
    learner = adapted(model, recipe.low_rank, recipe.seed)
    curve = fit(
        words_stage(recipe),
        *(learner, word_order(parts["train"], recipe), Plain(parts["validation"]), batches),
        *(run.folder / "words", run.precision, run.progress),
        rank_draws(recipe.low_rank),
    )
    settle(learner, run.folder / ADAPTER if is_first() else None)
    return curve
