"""How a tuned model of the hub is asked: by its own chat template, one image at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from micrographia.assistant.voice import Choice, Example, Image, that_fit
from micrographia.students.chat import SMALL, ChatProcessor
from micrographia.students.chat_template import Chat, Exchange
from micrographia.students.hub import embed, score_answers
from micrographia.students.prompts import IMAGE


class HubVoice:
    """A model of the hub, and its chats."""

    def __init__(self, model: Any, processor: ChatProcessor) -> None:
        self.model = model
        self.processor = processor

    @property
    def longest(self) -> int:
        """Tokens of the longest chat that it reads, images and answer among them."""
        reads = self.model.config.get_text_config().max_position_embeddings
        return int(min(reads, self.processor.longest or reads))

    @property
    def longest_question(self) -> int:
        """In tokens: what is left of the longest chat when an answer has had its room."""
        return self.longest - int(self.model.generation_config.max_new_tokens)

    def length(self, question: str, size: tuple[int, int] = SMALL) -> int:
        """Tokens of a question about one image of ``size`` (rows, columns)."""
        return self.processor.tokens([Exchange([IMAGE, question])], [size]).total

    @torch.no_grad()
    def answer(self, images: Sequence[Image], questions: Sequence[str], index: Sequence[int]) -> list[str]:
        """The answer to each question, which is about image ``index[q]``."""
        told = []
        for image, question in zip(index, questions, strict=True):
            asked = self.processor.to_ask([[Exchange([IMAGE, question])]], [[images[image]]])
            asked = asked.to(self.model.device)
            made = self.model.generate(
                **asked,
                do_sample=False,
                num_beams=1,
                eos_token_id=self.processor.end_id,
                pad_token_id=self.processor.pad_id,
            )
            told += self.processor.said(made, asked["input_ids"])
        return told

    def choose(
        self, images: Sequence[Image], choice: Choice, shown: Sequence[Sequence[Example]] | None = None
    ) -> NDArray[np.float64]:
        """Probability (n, K) of each answer about each image, as it lies.

        ``shown`` are examples for each, as ``Voice.choose`` has them.
        """
        examples = [
            self._that_fit(before, choice, image)
            for before, image in zip(shown or [()] * len(images), images, strict=True)
        ]
        chats = [self._chat(choice, before) for before in examples]
        pictures = [
            [*(example.image for example in before), image]
            for before, image in zip(examples, images, strict=True)
        ]
        scores = score_answers(self.model, self.processor, chats, pictures, choice.answers)
        return np.asarray(scores.double().exp().cpu().numpy())

    def embed(self, images: Sequence[Image]) -> Tensor:
        """Where the model puts each image, (n, d)."""
        return embed(self.model, self.processor, images)

    def _that_fit(self, examples: Sequence[Example], choice: Choice, image: Image) -> Sequence[Example]:
        longest = max(choice.answers, key=lambda text: len(self.processor.answer(text)))

        def fits(before: Sequence[Example]) -> bool:
            sizes = [picture.shape[:2] for picture in (*(example.image for example in before), image)]
            return self.processor.tokens(self._chat(choice, before, longest), sizes).total <= self.longest

        return that_fit(examples, fits)

    @staticmethod
    def _chat(choice: Choice, before: Sequence[Example], answer: str = "") -> Chat:
        shown = [Exchange([IMAGE, choice.question], example.label) for example in before]
        return [*shown, Exchange([IMAGE, choice.question], answer)]
