"""Batches of a model of the hub: rows of one or several images as chats, and how long they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from micrographia.micrographs.field import Display, open_field
from micrographia.records import Micrograph
from micrographia.students.chat import SMALL, ChatProcessor, Tokens
from micrographia.students.chat_template import Exchange
from micrographia.students.prompts import IMAGE
from micrographia.students.views import VIEWS
from micrographia.teach.lexicon import class_words
from micrographia.tune.collate import Text, choose, longest_drawn
from micrographia.tune.order import Draw
from micrographia.tune.plan import field_size
from micrographia.tune.run import Run
from micrographia.tune.samples import Seen, in_parts, shows

Told = Mapping[str, list[Text[str]]]
"""What is said of one micrograph, by task."""


@dataclass(frozen=True)
class Row:
    """One row of a batch: a chat, and its images in the order of their places."""

    chat: tuple[Exchange, ...]
    images: tuple[Seen, ...]


class Verbatim:
    """Questions and answers as they are: the chat template makes ids of them."""

    def question(self, text: str) -> str:
        """As it is."""
        return text

    def answer(self, text: str) -> str:
        """As it is."""
        return text


class Counted:
    """How long rows are with their images, by the model's own processor; no image is read for it."""

    def __init__(self, chats: ChatProcessor, micrographs: Sequence[Micrograph], views: int) -> None:
        self.chats = chats
        self.micrographs = micrographs
        self.views = [0] if views == 1 else [0, 1]
        """Those that tell how much an image may take up: turned it may be more."""
        self._prompt = cache(self._count_prompt)
        self._answer = cache(lambda text: len(chats.answer(text)))
        self.length = cache(self._length)

    def of(self, row: Row) -> Tokens:
        """Of a row."""
        *before, last = row.chat
        prompt = self._prompt((*before, Exchange(last.question)))
        return Tokens(sum(map(self.image, row.images)), prompt + self._answer(last.answer))

    def image(self, seen: Seen) -> int:
        """Tokens of an image in one of VIEWS."""
        row, view = seen
        rows, columns = field_size(self.micrographs[row])
        return self.chats.seen((columns, rows) if VIEWS[view][0] % 2 else (rows, columns)).tokens

    def at_its_largest(self, row: int) -> Seen:
        """An image in the view in which it takes up most tokens."""
        return max(((row, view) for view in self.views), key=self.image)

    def _length(self, row: int, text: Text[str]) -> Tokens:
        """Of a text about one of the micrographs, with its longest answer; counted once for all who ask."""
        seen = self.at_its_largest(row)
        answers = [self.of(asked(seen, text, answer)) for answer in text.answers if answer]
        return max(answers, key=lambda tokens: tokens.total)

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
        """Those of ``rows`` that take up most tokens as examples, image and label together."""
        return sorted(rows, key=lambda row: self.image((row, 0)) + self._answer(self.label(row)))[-count:]

    def label(self, row: int) -> str:
        """The class of a micrograph, in words."""
        return class_words(str(self.micrographs[row].label))

    def _count_prompt(self, chat: tuple[Exchange, ...]) -> int:
        return self.chats.tokens(chat, [SMALL] * len(chat)).text


def asked(seen: Seen, text: Text[str], answer: str) -> Row:
    """A text about one image, with one of its answers."""
    return Row((Exchange((IMAGE, text.question), answer),), (seen,))


@dataclass(frozen=True)
class ChatBatches:
    """Draws to batches: a row a text, its image decoded and laid down in one of VIEWS, some rows with
    demonstrations before the question for the category, where the model reads as much.

    With ``room`` a step is cut ``in_parts`` of so many tokens.
    """

    run: Run
    counted: Counted
    texts: Sequence[Told]
    shown: Mapping[int, Sequence[int]]
    room: int | None = None

    def __call__(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """What ``forward`` of the model takes, or what ``fit`` takes part by part."""
        rows = [row for draw in draws for row in self.rows(draw)]
        return self.batch(rows) if self.room is None else in_parts(rows, self.length, self.room, self.batch)

    def batch(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Of so many rows, an image that several have read once."""
        opened = cache(self._open)
        pictures = [[laid_down(opened(image), view) for image, view in row.images] for row in rows]
        return dict(self.counted.chats.to_learn([row.chat for row in rows], pictures))

    def length(self, row: Row) -> int:
        """Tokens of a row."""
        return self.counted.of(row).total

    def rows(self, draw: Draw) -> list[Row]:
        """Of one image."""
        recipe = self.run.recipe
        view = 0 if draw.seed is None else draw.seed % recipe.views
        chosen = choose(self.texts[draw.image], draw, recipe.texts_per_image, view)
        return self._rows((draw.image, view), chosen, shows=shows(draw))

    def largest(self, image: int) -> list[list[Row]]:
        """The rows of an image where its longest texts are drawn, and it is shown others: for each of the
        turns that its kinds of text may have."""
        count, seen = self.run.recipe.texts_per_image, self.counted.at_its_largest(image)
        drawn = longest_drawn(self.texts[image], count, lambda text: self.counted.length(image, text).total)
        return [self._rows(seen, texts, shows=True) for texts in drawn]

    def fitting(self, image: int) -> int:
        """How many of its examples fit before the longest question for the category of an image."""
        return max(len(row.images) for rows in self.largest(image) for row in rows) - 1

    def _rows(self, seen: Seen, chosen: Sequence[Text[str]], shows: bool) -> list[Row]:
        told = [(text, answer) for text in chosen if (answer := text.answer(seen[1])) is not None]
        plain = [asked(seen, text, answer) for text, answer in told]
        category = [row for row, (text, _) in zip(plain, told, strict=True) if text.task == "category"]
        return [*plain, *(shown for row in category if shows for shown in self._shown(row))]

    def _shown(self, row: Row) -> list[Row]:
        """A row with as many examples as the model reads before it, the least like, which stand first, left
        out; none where there are none, or none fits."""
        before, longest = self.shown.get(row.images[0][0], ()), self.counted.chats.longest
        for start in range(len(before)):
            others = before[start:]
            shown = Row(
                (*map(self._example, others), *row.chat), (*((other, 0) for other in others), *row.images)
            )
            if longest is None or self.length(shown) <= longest:
                return [shown]
        return []

    def _example(self, row: int) -> Exchange:
        return Exchange((IMAGE, self._category), self.counted.label(row))

    @cached_property
    def _category(self) -> str:
        return self.run.corpus.commonest_prompt("category", "short")

    def _open(self, row: int) -> Display:
        return open_field(self.run.workspace.objects, self.run.corpus.micrographs[row])


def laid_down(image: Display, view: int) -> Display:
    """The image in one of VIEWS."""
    turns, mirrored = VIEWS[view]
    return np.ascontiguousarray(np.rot90(np.fliplr(image) if mirrored else image, turns))
