"""Chats about images as any vision-language model of the hub takes them, from tuning to serving.

    the model's own chat template, its own places for images | answer, end of turn
    labels: ignored ........................................ | the ids themselves

A prompt is made in one way, for learning and for asking. What is learnt is appended to it, so that the loss
falls on the answer by construction; nothing is searched for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PROCESSOR_MAPPING, AutoConfig, AutoProcessor
from transformers.feature_extraction_utils import BatchFeature
from transformers.utils import is_torchvision_available

from micrographia.errors import StudentError
from micrographia.students.chat_template import FIRST, Chat, Exchange, Template, messages
from micrographia.students.losses import IGNORED
from micrographia.students.pixel_budget import Seen, fitted, ground_for, prepared
from micrographia.students.processor import Picture, Speaks
from micrographia.students.prompts import IMAGE

ROWS = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")
"""Inputs with an entry for each token; all others belong to images and stay as the processor made them."""
VIDEO = "video_processor"
VIDEO_FILE = "video_preprocessor_config.json"
BUDGET_FILE = "budget.json"
SMALL = (64, 64)
"""(rows, columns) of an image that stands for others where only texts are counted."""


@dataclass(frozen=True)
class Tokens:
    """What a chat takes up, its answer among it."""

    image: int
    text: int

    @property
    def total(self) -> int:
        """Of both."""
        return self.image + self.text

    def __str__(self) -> str:
        return f"{self.total} tokens, {self.image} of images and {self.text} of texts"


class ChatProcessor(Speaks):
    """Any processor of ``transformers`` that has a chat template.

        chats = ChatProcessor.from_pretrained(folder, max_pixels=512 * 512, longest=2048)
        model(**chats.to_learn([[Exchange([IMAGE, "What is shown?"], "Fibres.")]], [[image]])).loss
        asked = chats.to_ask([[Exchange([IMAGE, "What is shown?"])]], [[image]])
        chats.said(model.generate(**asked, eos_token_id=chats.end_id), asked["input_ids"])

    Images of more than ``max_pixels`` are scaled down. A chat of more than ``longest`` tokens is refused,
    never cut. Raises StudentError where the processor or its template is none that can be tuned with.
    """

    def __init__(self, processor: Any, max_pixels: int | None = None, longest: int | None = None) -> None:
        if getattr(processor, "image_token_id", None) is None:
            raise StudentError("its processor names no image token", "choose a model with image places")
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.batch_decode = processor.batch_decode
        self.max_pixels, self.longest = max_pixels, longest
        self.video: Mapping[str, Any] | None = None
        """Settings for videos, kept for the folder where they were not loaded."""
        self.template = Template(processor)
        self.end_id: int = self.tokenizer.convert_tokens_to_ids(self.template.end)
        """The sign that closes an answer: where ``generate`` is to stop."""
        self._sign_ids = set(self.tokenizer.convert_tokens_to_ids(self.template.signs))
        self.opening = self._opening()
        self.pad_id: int = self.end_id if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id
        self.ground = ground_for(self.images)
        self._seen: dict[tuple[int, int], Seen] = {}
        self._keeps_apart = True
        self._keeps_apart = self._keeps_signs_apart()
        self._require_appendable()

    @classmethod
    def from_pretrained(
        cls, folder: Path, max_pixels: int | None = None, longest: int | None = None
    ) -> ChatProcessor:
        """The processor of the model in ``folder``, with the budgets it was saved with where none are given.

        Some processors (Qwen's) bring one for videos, which needs torchvision. Where that is not installed
        they are loaded without it; its settings are kept and saved again.
        """
        budget = {"max_pixels": None, "longest": None}
        if (folder / BUDGET_FILE).is_file():
            budget = json.loads((folder / BUDGET_FILE).read_text(encoding="utf-8"))
        max_pixels, longest = max_pixels or budget["max_pixels"], longest or budget["longest"]
        usual = PROCESSOR_MAPPING[type(AutoConfig.from_pretrained(folder, local_files_only=True))]
        if VIDEO not in usual.get_attributes() or is_torchvision_available():
            return cls(AutoProcessor.from_pretrained(folder, local_files_only=True), max_pixels, longest)
        chats = cls(without_video(usual).from_pretrained(folder, local_files_only=True), max_pixels, longest)
        chats.video = _video_settings(folder)
        return chats

    def save_pretrained(self, folder: Path) -> None:
        """The processor as ``transformers`` saves it, and the budgets."""
        self.processor.save_pretrained(folder)
        budget = {"max_pixels": self.max_pixels, "longest": self.longest}
        (folder / BUDGET_FILE).write_text(json.dumps(budget), encoding="utf-8")
        if self.video is not None:
            (folder / VIDEO_FILE).write_text(json.dumps(dict(self.video), indent=2), encoding="utf-8")

    def to_ask(self, chats: Sequence[Chat], pictures: Sequence[Sequence[Picture]]) -> BatchFeature:
        """What ``generate`` takes: prompts (B, L) padded on the left, closed where the last answer begins.

        ``pictures`` are those of each chat, in the order of their places; the last answers are left out.
        """
        rows, images = self._prompts(chats, pictures)
        for row in rows:
            self._require_short(row["input_ids"])
        return BatchFeature({**self._padded(rows, "left"), **images})

    def to_learn(self, chats: Sequence[Chat], pictures: Sequence[Sequence[Picture]]) -> BatchFeature:
        """What ``forward`` learns from: ``to_ask`` and the answers, padded on the right, and ``labels``:
        the ids of the last answer and its end, ``IGNORED`` everywhere else."""
        rows, images = self._prompts(chats, pictures)
        for row, chat in zip(rows, chats, strict=True):
            answer, before = self.answer(chat[-1].answer), len(row["input_ids"])
            for name in row:
                row[name] = row[name] + _text_entries(name, answer)
            row["labels"] = [IGNORED] * before + answer
            self._require_short(row["input_ids"])
        return BatchFeature({**self._padded(rows, "right"), **images})

    def answer(self, text: str) -> list[int]:
        """The ids of an answer as it goes on from a prompt, closed by the template's end of turn."""
        if not text.strip():
            raise StudentError("a chat has no answer to learn", "give one to its last exchange")
        ids = self._after_a_prompt(self.template.lead + text.strip())
        for one in self._sign_ids.intersection(ids):
            raise _typed(self.tokenizer.convert_ids_to_tokens(one))
        return [*ids, self.end_id]

    def said(self, sequences: Tensor, input_ids: Tensor) -> list[str]:
        """What ``generate`` added to the prompts ``input_ids``, up to the end of the turn, in words."""
        told = sequences[:, input_ids.shape[1] :].tolist()
        turns = [ids[: ids.index(self.end_id)] if self.end_id in ids else ids for ids in told]
        return [text.strip() for text in self.batch_decode(turns, skip_special_tokens=True)]

    def look(self, pictures: Sequence[Picture]) -> dict[str, Tensor]:
        """What the model takes of images alone."""
        return self._prompts([[Exchange([IMAGE])]] * len(pictures), [[picture] for picture in pictures])[1]

    def seen(self, size: tuple[int, int]) -> Seen:
        """What becomes of an image of ``size`` (rows, columns): tried on a black one, once for each size."""
        if size not in self._seen:
            row, images = self._blank([Exchange([IMAGE])], [size])
            small, _ = self._blank([Exchange([IMAGE])], [SMALL])
            more = len(row["input_ids"]) - len(small["input_ids"])
            given = prepared(np.zeros(size, np.uint8), self.max_pixels, self.ground)
            frames = getattr(self.images, "temporal_patch_size", 1)
            reached = images[self.images.model_input_names[0]].numel() / (3 * frames)
            kept = math.prod(fitted(size, self.max_pixels)) / math.prod(size)
            scale = math.sqrt(kept * reached / (given.height * given.width))
            self._seen[size] = Seen(more + self._places(small["input_ids"]), scale)
        return self._seen[size]

    def tokens(self, chat: Chat, sizes: Sequence[tuple[int, int]]) -> Tokens:
        """What a chat takes up with images of ``sizes`` (rows, columns), its last answer among it if there.

        No image need be read for it.
        """
        row, _ = self._blank(chat, [SMALL] * len(sizes))
        ids = row["input_ids"] + (self.answer(chat[-1].answer) if chat[-1].answer.strip() else [])
        return Tokens(sum(self.seen(size).tokens for size in sizes), len(ids) - self._places(ids))

    @property
    def images(self) -> Any:
        """The processor's own for images."""
        return self.processor.image_processor

    def _prompts(
        self, chats: Sequence[Chat], pictures: Sequence[Sequence[Picture]]
    ) -> tuple[list[dict[str, list[int]]], dict[str, Tensor]]:
        """For each chat its entries of ROWS, and the inputs of all images."""
        images = [[prepared(one, self.max_pixels, self.ground) for one in own] for own in pictures]
        settings: dict[str, Any] = {"add_special_tokens": False, "padding": False}
        if any(images):
            settings["images"] = images
        _require_places(chats, pictures)
        if not self._keeps_apart:
            self._require_no_signs(chats)
        try:
            made = self.processor.apply_chat_template(
                [messages(chat, answered=False) for chat in chats],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors=None,
                sanitize_control_tokens=self._keeps_apart,
                processor_kwargs=settings,
            )
        except (ValueError, TemplateError) as error:
            raise StudentError(
                f"its processor does not take a chat: {error}", "leave this chat out, or choose another model"
            ) from error
        rows = [
            {name: _text_entries(name, self.opening) + list(made[name][k]) for name in ROWS if name in made}
            for k in range(len(chats))
        ]
        others = {name: value for name, value in made.items() if name not in ROWS}
        return rows, dict(BatchFeature(others, tensor_type="pt"))

    def _padded(self, rows: Sequence[Mapping[str, list[int]]], side: str) -> dict[str, Tensor]:
        fill = {"input_ids": self.pad_id, "labels": IGNORED}
        return {
            name: pad_sequence(
                [torch.tensor(row[name]) for row in rows], True, fill.get(name, 0), padding_side=side
            )
            for name in rows[0]
        }

    def _opening(self) -> list[int]:
        """What the tokenizer begins every text with, where the template does not: Llama's ``<s>``."""
        begin = self.tokenizer.bos_token
        if begin is not None and self.template.text([FIRST]).startswith(begin):
            return []
        return [one for one in self.tokenizer("")["input_ids"] if one != self.tokenizer.eos_token_id]

    def _after_a_prompt(self, text: str) -> list[int]:
        """The ids of a text that follows another, in which no sign is special.

        It is read after a line's end, which is taken away again: some tokenizers (SentencePiece's) put a
        space before a text that begins.
        """
        line, both = self._plain("\n"), self._plain("\n" + text)
        return both[len(line) :] if both[: len(line)] == line else self._plain(text)

    def _plain(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def _places(self, ids: Sequence[int]) -> int:
        return sum(one in self.processor.image_token_ids for one in ids)

    def _blank(
        self, chat: Chat, sizes: Sequence[tuple[int, int]]
    ) -> tuple[dict[str, list[int]], dict[str, Tensor]]:
        rows, images = self._prompts([chat], [[np.zeros(size, np.uint8) for size in sizes]])
        return rows[0], images

    def _require_short(self, ids: Sequence[int]) -> None:
        if self.longest is not None and len(ids) > self.longest:
            places = self._places(ids)
            raise StudentError(
                f"a chat has {Tokens(places, len(ids) - places)}, and {self.longest} are allowed",
                "leave it out, or allow more tokens or fewer pixels an image",
            )

    def _keeps_signs_apart(self) -> bool:
        """Whether the processor takes signs that are typed for plain text, as most do; all are tried."""
        typed = " ".join(self.template.signs)
        try:
            plain, signs = (self._blank([Exchange([IMAGE, text])], [SMALL])[0] for text in ("x", typed))
        except StudentError:
            return False
        return all(plain["input_ids"].count(one) == signs["input_ids"].count(one) for one in self._sign_ids)

    def _require_no_signs(self, chats: Sequence[Chat]) -> None:
        for text in _texts(chats):
            for sign in self.template.signs:
                if sign in text:
                    raise _typed(sign)

    def _require_appendable(self) -> None:
        """Refuse inputs of images that depend on the text beside them (Mllama's)."""
        short, long = (self._blank([Exchange([IMAGE, text])], [SMALL])[1] for text in ("x", "x and x"))
        if any(short[name].shape != long[name].shape for name in short):
            raise StudentError(
                "its processor makes inputs of images for each token of the text",
                "choose another model: an answer cannot be appended to such a prompt",
            )


def without_video(processor_class: Any) -> Any:
    """The processor's class without its part for videos; it is saved under its own name."""
    parts = [part for part in processor_class.get_attributes() if part != VIDEO]
    reduced = type(processor_class.__name__, (processor_class,), {})
    reduced.get_attributes = classmethod(lambda cls: parts)  # type: ignore[attr-defined]
    return reduced


def _video_settings(folder: Path) -> Mapping[str, Any] | None:
    for name, part in (("processor_config.json", VIDEO), (VIDEO_FILE, None)):
        if (folder / name).is_file():
            settings = json.loads((folder / name).read_text(encoding="utf-8"))
            if part is None or part in settings:
                return settings if part is None else settings[part]
    return None


def _text_entries(name: str, ids: list[int]) -> list[int]:
    """Of one of ROWS for tokens that are text."""
    return list(ids) if name == "input_ids" else [int(name == "attention_mask")] * len(ids)


def _typed(sign: str) -> StudentError:
    return StudentError(
        f"a chat has {sign!r} in its text, and the model's processor takes it for a sign",
        "write it otherwise",
    )


def _texts(chats: Sequence[Chat]) -> Iterator[str]:
    """All that was typed, as the template is given it."""
    for chat in chats:
        for turn in messages(chat, answered=False):
            yield from (block["text"] for block in turn["content"] if "text" in block)


def _require_places(chats: Sequence[Chat], pictures: Sequence[Sequence[Picture]]) -> None:
    for chat, own in zip(chats, pictures, strict=True):
        places = sum(part is IMAGE for exchange in chat for part in exchange.question)
        if places != len(own):
            raise StudentError(
                f"a chat has {places} places for images, and {len(own)} images came",
                "give one image for each place",
            )
