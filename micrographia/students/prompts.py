"""Images and words as a language model with sight takes them.

A prompt is a list of parts, each an image's place or a text, closed by ``<Encode>``; nothing that is typed as
text can make a place or close a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from transformers import PreTrainedTokenizerFast
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin

from micrographia.errors import StudentError
from micrographia.students.processor import MVaEMaImageProcessor, Picture, Speaks, eight_bits
from micrographia.students.tokens import ENCODE, PAD

IMAGE_TOKEN = "<image>"


class Place(Enum):
    """What stands in a prompt beside texts."""

    IMAGE = IMAGE_TOKEN


IMAGE = Place.IMAGE
"""The place of the next image."""

Part = str | Place


def with_places(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The tokenizer with ``<image>`` and ``<Encode>`` as tokens, and one for padding if it has none."""
    new = [token for token in (IMAGE_TOKEN, ENCODE) if token not in tokenizer.get_vocab()]
    tokenizer.add_special_tokens({"additional_special_tokens": new}, replace_extra_special_tokens=False)
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": PAD})
    tokenizer.padding_side = "left"
    return tokenizer


class MAEMIProcessor(Speaks, ProcessorMixin):
    """Any image processor and any tokenizer ``with_places``.

        <image> question <Encode> answer <EOS>

    is what the student learns; called with images and texts, it makes what ``generate`` takes. The place of
    an image is ``image_seq_length`` times ``<image>``: once for MAEMI, for LLaVA once for each of its tokens.
    """

    def __init__(
        self, image_processor: Any, tokenizer: PreTrainedTokenizerFast, image_seq_length: int = 1
    ) -> None:
        super().__init__(image_processor, tokenizer)
        self.image_seq_length = image_seq_length
        self.image_token, self.encode_token = IMAGE_TOKEN, ENCODE
        self.image_token_id, self.encode_token_id = tokenizer.convert_tokens_to_ids([IMAGE_TOKEN, ENCODE])
        # What this tokenizer opens every text with: a beginning for Llama and Gemma, nothing for most.
        self.opening = [i for i in tokenizer("")["input_ids"] if i != tokenizer.eos_token_id]
        self.place = [self.image_token_id] * image_seq_length

    def __call__(
        self,
        images: Picture | Sequence[Picture] | None = None,
        text: str | Sequence[str] | None = None,
        return_tensors: str = "pt",
        **_: Any,
    ) -> BatchFeature:
        """``pixel_values`` of the images, ``input_ids`` and ``attention_mask`` of the prompts.

        ``<image>`` in a text is the place of an image, in the order in which they come; of as many texts
        without any as there are images, each begins with its own. Prompts are closed by ``<Encode>`` and
        padded on the left, always. Raises ``StudentError`` where images and places are not as many.
        """
        data: dict[str, Any] = {}
        pictures: list[Picture] = []
        if images is not None:
            pictures = [images] if isinstance(images, (Image.Image, np.ndarray)) else list(images)
        if pictures:
            data |= self.look(pictures, return_tensors)
        if text is not None:
            prompts = [_parts(one) for one in ([text] if isinstance(text, str) else text)]
            if len(prompts) == len(pictures) and not any(IMAGE in parts for parts in prompts):
                prompts = [[IMAGE, *parts] for parts in prompts]
            self._require_places(prompts, len(pictures))
            data |= self.padded([self.prompt(parts) for parts in prompts], return_tensors)
        return BatchFeature(data)

    def look(self, pictures: Sequence[Picture], return_tensors: str = "pt") -> dict[str, Any]:
        """``pixel_values`` of the pictures. A hub's processor is given 8-bit colour, made as ingest makes it:
        by itself it turns a 16-bit micrograph white."""
        if not isinstance(self.image_processor, MVaEMaImageProcessor):
            pictures = [in_colour(eight_bits(picture)) for picture in pictures]
        return dict(self.image_processor(pictures, return_tensors=return_tensors))

    def prompt(self, parts: Sequence[Part]) -> list[int]:
        """The ids of a prompt, closed by ``<Encode>``."""
        return [*self.opening, *self.turn(parts)]

    def turn(self, parts: Sequence[Part]) -> list[int]:
        """The ids of a prompt that follows on others, closed by ``<Encode>``."""
        ids = [i for part in parts for i in (self.place if isinstance(part, Place) else self.words(part))]
        return [*ids, self.encode_token_id]

    def demonstration(self, question: str, answer: str) -> list[int]:
        """The ids of an image with question and answer, to stand before another image's."""
        return [*self.turn([IMAGE, question]), *self.answer(answer)]

    def question(self, text: str) -> list[int]:
        """The ids of a question about one image, closed by ``<Encode>``."""
        return self.prompt([IMAGE, text])

    def padded(self, rows: Sequence[Sequence[int]], return_tensors: str = "pt") -> dict[str, Any]:
        """``input_ids`` and ``attention_mask`` of prompts, padded on the left."""
        return dict(
            self.tokenizer.pad({"input_ids": list(rows)}, padding_side="left", return_tensors=return_tensors)
        )

    @staticmethod
    def _require_places(prompts: Sequence[Sequence[Part]], images: int) -> None:
        places = sum(part is IMAGE for parts in prompts for part in parts)
        if places != images:
            raise StudentError(
                f"the texts have {places} {IMAGE_TOKEN}, and {images} images came",
                f"put {IMAGE_TOKEN} where an image stands, once for each image",
            )


def in_colour(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(rows, columns, 3) of a display image; of a grey one three times the same."""
    return np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture


def _parts(text: str) -> list[Part]:
    parts: list[Part] = []
    for number, piece in enumerate(text.split(IMAGE_TOKEN)):
        parts += [IMAGE] * (number > 0) + [piece] * bool(piece.strip())
    return parts
