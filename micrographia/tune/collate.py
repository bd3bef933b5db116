"""The second stage's batches: images, several texts for each, and loss on the answers only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from micrographia.recipe import TuneSection
from micrographia.records import Conversation
from micrographia.students.losses import IGNORED
from micrographia.students.views import VIEWS
from micrographia.teach.claims import turned
from micrographia.tune.features import Sight
from micrographia.tune.order import Draw

ONE_OF_EACH = ("category", "caption")
"""Tasks of which an image brings one text to a step."""


Words = TypeVar("Words", bound=Sequence[Any])
Said = TypeVar("Said", bound=Sequence[Any], covariant=True)
"""Token ids; or a text, for models that read chats."""


@dataclass(frozen=True)
class Text(Generic[Words]):
    """One conversation. ``answers`` has one entry for each of VIEWS, or one for all of them; None where the
    answer cannot be kept true in that view."""

    task: str
    question: Words
    answers: tuple[Words | None, ...]

    def answer(self, view: int) -> Words | None:
        """The answer for one of VIEWS."""
        return self.answers[view if len(self.answers) > 1 else 0]

    @property
    def length(self) -> int:
        """Tokens of the question and its longest answer."""
        return len(self.question) + max(len(answer) for answer in self.answers if answer)


Texts = Mapping[str, list[Text[list[int]]]]
"""Texts of one micrograph, by task."""


class Asks(Protocol[Said]):
    """What turns questions and answers into token ids: the processor of any student of ours."""

    def question(self, text: str) -> Said:
        """A question, closed."""

    def answer(self, text: str) -> Said:
        """An answer, closed."""


def texts_by_micrograph(
    conversations: Iterable[Conversation], processor: Asks[Words]
) -> dict[str, dict[str, list[Text[Words]]]]:
    """All texts of all micrographs. A direction in an answer is turned with the view."""
    texts: dict[str, dict[str, list[Text[Words]]]] = defaultdict(lambda: defaultdict(list))
    for conversation in conversations:
        text = Text(
            conversation.task, processor.question(conversation.prompt), _answers(conversation, processor)
        )
        if any(text.answers):
            texts[conversation.micrographs[0]][conversation.task].append(text)
    return {identity: dict(by_task) for identity, by_task in texts.items()}


def _answers(conversation: Conversation, processor: Asks[Words]) -> tuple[Words | None, ...]:
    if not any(claim.directional for claim in conversation.claims):
        return (processor.answer(conversation.answer),)
    views = [turned(conversation, turns, mirrored) for turns, mirrored in VIEWS]
    return tuple(processor.answer(view.answer) if view else None for view in views)


class TextBatches:
    """Draws to batches of MVaEMa.

    Each image brings ``texts_per_image`` texts, as ``choose`` draws them; its caption is its text for ITC and
    ITM. The image is laid down in one of VIEWS and is not cropped, so that what is said of it stays true.
    """

    def __init__(
        self,
        sight: Sight,
        texts: Sequence[Texts],
        groups: Sequence[int],
        recipe: TuneSection,
    ) -> None:
        self.sight = sight
        self.texts = texts
        self.groups = groups
        self.texts_per_image = recipe.texts_per_image
        self.views = recipe.views
        self.compare = recipe.contrastive or recipe.matching
        """Whether ITC or ITM want a text for each image."""

    def __call__(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """What ``MVaEMaForConditionalGeneration.forward`` takes."""
        rows = [draw.image for draw in draws]
        views = [0 if draw.seed is None else int(draw.seed % self.views) for draw in draws]
        chosen = [
            choose(self.texts[draw.image], draw, self.texts_per_image, view)
            for draw, view in zip(draws, views, strict=True)
        ]
        batch: dict[str, Any] = {**self.sight(rows, views), **_language(chosen, views)}
        captions = [_first(self.texts[row], view) for row, view in zip(rows, views, strict=True)]
        if self.compare and all(captions):
            batch |= _padded("itc_", [torch.tensor(caption) for caption in captions])
            batch["groups"] = torch.tensor([self.groups[row] for row in rows])
        return batch


def choose(texts: Mapping[str, list[Text[Words]]], draw: Draw, count: int, view: int) -> list[Text[Words]]:
    """The texts of one image for one step: one of each kind there is one of, and questions for the rest.

    Where ``count`` is less than its kinds, the draw decides which of them have a turn, of those that are true
    in ``view``; in validation they go by the image.
    """
    generator = np.random.default_rng(0 if draw.seed is None else draw.seed)
    texts = _of_a_turn(texts, draw, count, view)
    single = [texts[task][generator.integers(len(texts[task]))] for task in ONE_OF_EACH if texts.get(task)]
    many = texts.get("vqa", [])
    rest = min(max(count - len(single), 0), len(many))
    return single + [many[i] for i in generator.choice(len(many), rest, replace=False)] if many else single


def longest_drawn(
    texts: Mapping[str, list[Text[Words]]], count: int, length: Callable[[Text[Words]], int]
) -> list[list[Text[Words]]]:
    """The texts of one image where its longest are drawn, in every view as long as in their longest: for each
    of the turns that its kinds may have."""
    every = {
        task: sorted((_at_its_longest(text, length) for text in some), key=length, reverse=True)
        for task, some in texts.items()
    }
    drawn: list[list[Text[Words]]] = []
    for turn in _turns(every, count):
        single = [every[task][0] for task in ONE_OF_EACH if task in turn]
        rest = max(count - len(single), 0) if "vqa" in turn else 0
        drawn.append([*single, *every.get("vqa", [])[:rest]])
    return drawn


def _of_a_turn(
    texts: Mapping[str, list[Text[Words]]], draw: Draw, count: int, view: int
) -> Mapping[str, list[Text[Words]]]:
    if count >= sum(map(bool, texts.values())):
        return texts
    told = {task: [text for text in some if text.answer(view) is not None] for task, some in texts.items()}
    turns = _turns(told, count)
    turn = draw.image if draw.seed is None else np.random.default_rng((draw.seed, 2)).integers(len(turns))
    return {task: told[task] for task in turns[turn % len(turns)]}


def _turns(texts: Mapping[str, Sequence[Text[Words]]], count: int) -> list[tuple[str, ...]]:
    """The kinds that ``count`` texts of one image may be of, where not all can have a turn at once."""
    kinds = sorted(task for task, some in texts.items() if some)
    return list(combinations(kinds, min(count, len(kinds))))


def _at_its_longest(text: Text[Words], length: Callable[[Text[Words]], int]) -> Text[Words]:
    return max((replace(text, answers=(answer,)) for answer in text.answers if answer), key=length)


def _language(chosen: Sequence[Sequence[Text[list[int]]]], views: Sequence[int]) -> dict[str, Tensor]:
    ids, labels, index = [], [], []
    for image, (texts, view) in enumerate(zip(chosen, views, strict=True)):
        for text in texts:
            answer = text.answer(view)
            if answer is not None:
                ids.append(torch.tensor(text.question + answer))
                labels.append(torch.tensor([IGNORED] * len(text.question) + answer))
                index.append(image)
    batch = _padded("", ids)
    batch["labels"] = pad_sequence(labels, batch_first=True, padding_value=IGNORED)
    batch["image_index"] = torch.tensor(index)
    return batch


def _first(texts: Texts, view: int) -> list[int]:
    """The words of an image's caption, else of the first of its texts; without the closing token."""
    for task in ("caption", "category", "vqa"):
        for text in texts.get(task, []):
            answer = text.answer(view)
            if answer:
                return answer[:-1]
    return []


def _padded(prefix: str, rows: Sequence[Tensor]) -> dict[str, Tensor]:
    """Rows padded on the right with 0, the id of ``<pad>``, and their mask."""
    ones = [torch.ones_like(row) for row in rows]
    return {
        f"{prefix}input_ids": pad_sequence(list(rows), batch_first=True),
        f"{prefix}attention_mask": pad_sequence(ones, batch_first=True),
    }
