"""How a vision-language model of the hub is tuned: frozen, with adapters on its language model, or all but
its eye, on chats by its own template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForImageTextToText

from micrographia.adapt.lean_loss import without_logits
from micrographia.adapt.methods import adapted, rank_draws, require_machine, settle
from micrographia.errors import PlanError, StudentError
from micrographia.micrographs.field import Display, open_field
from micrographia.records import Micrograph
from micrographia.students.chat import SMALL, ChatProcessor, Tokens
from micrographia.students.chat_template import Chat, Exchange
from micrographia.students.hub import embed
from micrographia.students.plain_generation import plain
from micrographia.students.prompts import IMAGE
from micrographia.students.views import VIEWS
from micrographia.teach.lexicon import class_words
from micrographia.tune.collate import Text, choose, texts_by_micrograph
from micrographia.tune.demonstrations import in_words, likest, shown_and_asked
from micrographia.tune.fit import Stage, fit
from micrographia.tune.memory import Footprint, Memory, Step, footprint, light_copy, usable
from micrographia.tune.order import Draw, Plain
from micrographia.tune.parts import UNREADABLE, folder_of, refused, whole_model
from micrographia.tune.plan import Scaled, field_size, plan, with_texts, word_order
from micrographia.tune.processes import are_sharding, device, is_first
from micrographia.tune.run import ADAPTER, Made, Run
from micrographia.tune.samples import shows

Told = Mapping[str, list[Text[str]]]
"""What is said of one micrograph, by task."""

Row = tuple[Chat, list[Display]]
"""A chat and its images."""

LONGEST_ANSWER = 256
"""Tokens, where the model's own settings name no limit."""
TRIED = 8
"""Draws among which the longest row is looked for, to tell what a step takes up."""


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
        run, chats, texts, dict.fromkeys(asked, counted.largest(pool, run.recipe.demonstrations))
    )
    memory = Memory(
        [_footprint(run, model, trial, counted, parts["train"])],
        *(usable(model), run.recipe.too_large == "accumulate"),
    )
    scales = [chats.seen(field_size(m)).scale for m in run.corpus.micrographs]
    scaled = Scaled("its aspect kept", min(scales), max(scales))
    planned = plan(
        *(parts, run.corpus.untaught, scaled, counted.samples(texts), left_out),
        *(model.num_parameters(), run.recipe, "nothing", run.precision, memory),
        shown=in_words(
            run.recipe.demonstrations,
            [trial.fitting(row, counted) for row in asked if texts[row].get("category")],
        ),
    )
    run.begin(planned)

    shown: dict[int, list[int]] = {}
    if asked:
        shown = likest(run, _placed(run, model, chats, sorted({*pool, *asked})), pool, asked)
    rows_at_once = memory.stages[0].rows_within(memory.there or 0) if memory.room else None
    batches = ChatBatches(run, chats, texts, shown, rows_at_once)
    curve = _learn(run, model, batches, parts)
    return Made(model, chats, parts, "\n".join(planned.lines()), [], curve, shown)


class Verbatim:
    """Questions and answers as they are: the chat template makes ids of them."""

    def question(self, text: str) -> str:
        """As it is."""
        return text

    def answer(self, text: str) -> str:
        """As it is."""
        return text


class Counted:
    """How long texts are with their images, by the model's own processor; no image is read for it."""

    def __init__(self, chats: ChatProcessor, micrographs: Sequence[Micrograph], views: int) -> None:
        self.chats = chats
        self.views = views
        self.micrographs = micrographs
        self._asked = cache(self._count_question)
        self.length = cache(self._length)

    def _length(self, row: int, text: Text[str]) -> Tokens:
        """Of a text about one of the micrographs, with its longest answer; counted once for all who ask."""
        answers = [len(self.chats.answer(answer)) for answer in text.answers if answer]
        image = max(self.chats.seen(size).tokens for size in self._sizes(row))
        return Tokens(image, self._asked(text.question) + max(answers))

    def _sizes(self, row: int) -> list[tuple[int, int]]:
        """(rows, columns) of an image in all its views: turned it may take up more."""
        rows, columns = field_size(self.micrographs[row])
        return [(rows, columns), (columns, rows)] if self.views > 1 else [(rows, columns)]

    def samples(self, texts: Sequence[Told]) -> list[Tokens]:
        """Of all texts."""
        return [
            self.length(row, text)
            for row, told in enumerate(texts)
            for by_task in told.values()
            for text in by_task
        ]

    def readable(self, texts: Sequence[Told]) -> tuple[list[Told], list[str]]:
        """The texts that are short enough, and a line for each that is not."""
        kept: list[Told] = []
        left_out: list[str] = []
        for row, told in enumerate(texts):
            of_image: dict[str, list[Text[str]]] = {}
            for task, by_task in told.items():
                for text in by_task:
                    length = self.length(row, text)
                    if length.total <= (self.chats.longest or length.total):
                        of_image.setdefault(task, []).append(text)
                    else:
                        name = self.micrographs[row].name
                        left_out.append(f"{name}: {length}; {self.chats.longest} are read")
            kept.append(of_image)
        return kept, left_out

    def largest(self, rows: Sequence[int], count: int) -> list[int]:
        """Those of ``rows`` whose images take up most tokens."""
        return sorted(rows, key=lambda row: self.chats.seen(field_size(self.micrographs[row])).tokens)[
            -count:
        ]

    def _count_question(self, question: str) -> int:
        return self.chats.tokens([Exchange([IMAGE, question])], [SMALL]).text


@dataclass(frozen=True)
class ChatBatches:
    """Draws to batches: a row a text, its image decoded and laid down in one of VIEWS, some rows with
    demonstrations before the question for the category, where the model reads as much."""

    run: Run
    chats: ChatProcessor
    texts: Sequence[Told]
    shown: Mapping[int, Sequence[int]]
    rows_at_once: int | None = None
    """Where a step is cut into ``parts``."""

    def __call__(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """What ``forward`` of the model takes, or what ``fit`` takes part by part."""
        rows = [row for draw in draws for row in self.rows(draw)]
        size = self.rows_at_once or len(rows)
        parts = [self.batch(rows[start : start + size]) for start in range(0, len(rows), size)]
        if len(parts) == 1:
            return parts[0]
        whole = {
            name: torch.cat([p[name].flatten() for p in parts])[None] for name in ("input_ids", "labels")
        }
        return {**whole, "parts": parts}

    def batch(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Of so many rows."""
        return dict(self.chats.to_learn([chat for chat, _ in rows], [pictures for _, pictures in rows]))

    def rows(self, draw: Draw) -> list[Row]:
        """Of one image."""
        recipe = self.run.recipe
        view = 0 if draw.seed is None else draw.seed % recipe.views
        image = laid_down(self._open(draw.image), view)
        made: list[Row] = []
        for text in choose(self.texts[draw.image], draw, recipe.texts_per_image):
            answer = text.answer(view)
            if answer is None:
                continue
            last = Exchange([IMAGE, text.question], answer)
            made.append(([last], [image]))
            if text.task == "category" and shows(draw):
                made += self._after(self.shown.get(draw.image, ()), last, image)
        return made

    def fitting(self, row: int, counted: Counted) -> int:
        """How many of its examples fit before the longest question for the category of a row."""
        text = max(self.texts[row]["category"], key=lambda text: counted.length(row, text).total)
        last = Exchange([IMAGE, text.question], max(filter(None, text.answers), key=len))
        return len(self._before(self.shown[row], last, field_size(self.run.corpus.micrographs[row])))

    def _after(self, before: Sequence[int], last: Exchange, image: Display) -> list[Row]:
        """The question after its examples; none where none fits."""
        rows = self._before(before, last, (image.shape[0], image.shape[1]))
        return [([*map(self._example, rows), last], [*map(self._open, rows), image])] if rows else []

    def _before(self, before: Sequence[int], last: Exchange, size: tuple[int, int]) -> Sequence[int]:
        """As many examples as the model reads before a question about an image of ``size`` (rows, columns);
        the least like, which stand first, are left out."""
        for start in range(len(before)):
            chat = [*map(self._example, before[start:]), last]
            sizes = [*(field_size(self.run.corpus.micrographs[row]) for row in before[start:]), size]
            if self.chats.longest is None or self.chats.tokens(chat, sizes).total <= self.chats.longest:
                return before[start:]
        return ()

    def _example(self, row: int) -> Exchange:
        label = class_words(str(self.run.corpus.micrographs[row].label))
        return Exchange([IMAGE, self._category], label)

    @cached_property
    def _category(self) -> str:
        return self.run.corpus.commonest_prompt("category", "short")

    def _open(self, row: int) -> Display:
        return open_field(self.run.workspace.objects, self.run.corpus.micrographs[row])


def laid_down(image: Display, view: int) -> Display:
    """The image in one of VIEWS."""
    turns, mirrored = VIEWS[view]
    return np.ascontiguousarray(np.rot90(np.fliplr(image) if mirrored else image, turns))


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


def _footprint(run: Run, model: Any, trial: ChatBatches, counted: Counted, train: Sequence[int]) -> Footprint:
    """Of the one stage, tried on the longest chat of the training images."""
    recipe = run.recipe
    longest_of = {
        row: max(counted.length(row, text).total for by_task in trial.texts[row].values() for text in by_task)
        for row in train
    }
    image = max(longest_of, key=lambda row: longest_of[row])
    rows = [row for seed in range(TRIED) for row in trial.rows(Draw(image, seed))]
    chat, pictures = max(rows, key=lambda row: len(row[1]))
    tokens = trial.chats.tokens(chat, [picture.shape[:2] for picture in pictures]).total
    most = recipe.texts_per_image + bool(recipe.demonstrations)
    step = Step(
        *("learning words", "tune.batch", recipe.batch, recipe.batch * most, tokens),
        optimizer=recipe.optimizer,
    )
    with torch.random.fork_rng():
        learner = light_copy(model)
        without_logits(learner)
        learner = adapted(learner, recipe.low_rank, recipe.seed)
        return footprint(step, learner, lambda n: trial.batch([(chat, pictures)] * n), run.precision)


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
        Stage("learning words", recipe.batch, recipe.rate, recipe.optimizer, recipe.patience),
        *(learner, word_order(parts["train"], recipe), Plain(parts["validation"]), batches),
        *(run.folder / "words", run.precision, run.progress),
        rank_draws(recipe.low_rank),
    )
    settle(learner, run.folder / ADAPTER if is_first() else None)
    return curve
