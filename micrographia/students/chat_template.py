"""A model's own chat template, held to what tuning needs: that an answer goes on where the prompt ends, that
earlier turns stay as they were, and that nothing which is typed is ever one of its signs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from micrographia.errors import StudentError
from micrographia.students.prompts import IMAGE, Part, Place

OTHER = "choose a model whose chat template only adds to what was said before"


@dataclass(frozen=True)
class Exchange:
    """A question, as texts and the places of images, and its answer."""

    question: Sequence[Part]
    answer: str = ""


Chat = Sequence[Exchange]
"""Exchanges in their order. The last answer is what is learnt or asked for, those before it are shown."""

FIRST, THEN = Exchange([IMAGE, "first"], "reply"), Exchange(["then", IMAGE])


def messages(chat: Chat, *, answered: bool) -> list[dict[str, Any]]:
    """What ``apply_chat_template`` takes; with the last answer or without. Raises StudentError."""
    told: list[dict[str, Any]] = []
    for exchange in chat:
        told.append({"role": "user", "content": [_block(part) for part in _joined(exchange.question)]})
        told.append({"role": "assistant", "content": [_block(exchange.answer.strip())]})
    if any(not exchange.answer.strip() for exchange in (chat if answered else chat[:-1])):
        raise StudentError("an exchange of a chat has no answer", "give one to all but the last")
    return told if answered else told[:-1]


def _joined(parts: Sequence[Part]) -> list[Part]:
    """Texts that touch made one: apart they would be harmless, and side by side the name of a sign."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += f" {part}"
        else:
            joined.append(part)
    return joined


def _block(part: Part) -> dict[str, str]:
    return {"type": "image"} if isinstance(part, Place) else {"type": "text", "text": part}


class Template:
    """The chat template of ``processor``. Raises StudentError where it is none that can be tuned with.

    ``lead`` is what it puts between a prompt and its answer (LLaVA 1.5: a space), ``end`` the sign by which
    it closes an answer; where it writes none, as LLaVA 1.5's, that is the tokenizer's end of text.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        if not processor.chat_template:
            raise StudentError("its processor has no chat template", "take the tuned variant of the model")
        self.lead, close = self._continuation()
        self.end = close or processor.tokenizer.eos_token
        if self.end not in self.signs:
            raise StudentError(
                f"its chat template closes an answer with {self.end!r}, which is no sign of its tokenizer",
                "choose a model whose answers end in a special token",
            )
        self._require_apart()

    @property
    def signs(self) -> list[str]:
        """What may not be typed: the tokenizer's special tokens, and the place of an image."""
        tokens = self.processor.tokenizer.added_tokens_decoder.values()
        return [str(token) for token in tokens if token.special or str(token) == self.processor.image_token]

    def text(self, chat: Chat, *, answered: bool = False) -> str:
        """The chat as the template writes it, up to where the last answer begins, or with it."""
        try:
            return self.processor.apply_chat_template(
                messages(chat, answered=answered), add_generation_prompt=not answered
            )
        except (TemplateError, TypeError) as error:
            raise StudentError(
                f"its chat template cannot write a chat with images: {error}", OTHER
            ) from error

    def _continuation(self) -> tuple[str, str]:
        """What stands before and after an answer, found on an answer that is known."""
        prompt, told = self.text([FIRST]), self.text([FIRST], answered=True)
        lead, _, close = told.removeprefix(prompt).partition(FIRST.answer)
        if told != prompt + lead + FIRST.answer + close:
            raise StudentError("its chat template does not continue a prompt by an answer", OTHER)
        if not self.text([FIRST, THEN]).startswith(told.rstrip()):
            raise StudentError("its chat template rewrites earlier turns", OTHER)
        return lead, close.strip()

    def _require_apart(self) -> None:
        """Refuse a template that moves images away from between texts and leaves these touching."""
        halves: list[Part] = []
        for sign in self.signs:
            middle = len(sign) // 2
            halves += [sign[:middle], IMAGE, sign[middle:], IMAGE]
        told = self.text([Exchange(halves)])
        plain = self.text([Exchange(["x" if isinstance(half, str) else half for half in halves])])
        if any(told.count(sign) != plain.count(sign) for sign in self.signs):
            raise StudentError(
                "its chat template joins texts that an image stood between",
                "choose another model: a question could write signs of its own",
            )
