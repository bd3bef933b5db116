"""Images and words as the student takes them, and its token ids back to words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from transformers import PreTrainedTokenizerFast
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor
from transformers.processing_utils import ProcessorMixin

from micrographia.errors import StudentError
from micrographia.micrographs.display import to_display
from micrographia.students.side_by_side import NO_IMAGE

Picture = Image.Image | NDArray[Any]
"""A PIL image, or an array (rows, columns), (rows, columns, 1), (rows, columns, 3) or (rows, columns, 4)."""


PICTURE = (Image.Image, np.ndarray)

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in the grey of a colour image (ITU-R BT.601)."""


class MVaEMaImageProcessor(BaseImageProcessor):
    """Images of any size and depth to ``pixel_values`` in [-1, 1].

    The whole image is scaled to a square, as in the paper: nothing is cut away. Resampling is bicubic with
    a filter as wide as the reduction, so that fine structure does not alias. A grey student gets the luma
    of a colour image, a colour student a grey image three times. Depths other than 8 bits go through
    ``micrographs.display``, by percentiles, since a plain conversion makes a 16-bit micrograph white.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012  (the name and type that transformers reads)

    def __init__(self, image_size: int = 128, channels: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.image_size = image_size
        self.channels = channels

    def preprocess(
        self, images: Picture | Sequence[Picture], return_tensors: str | None = "pt", **_: Any
    ) -> BatchFeature:
        """``pixel_values`` (B, channels, image_size, image_size). Raises ``StudentError`` for odd arrays."""
        pictures = [images] if isinstance(images, PICTURE) else images
        prepared = np.stack([self._prepare(picture) for picture in pictures])
        return BatchFeature({"pixel_values": prepared}, tensor_type=return_tensors)

    def _prepare(self, picture: Picture) -> NDArray[np.float32]:
        pixels = eight_bits(picture).astype(np.float32)
        if self.channels == 1:
            planes = [pixels if pixels.ndim == 2 else pixels @ LUMA]
        else:
            planes = [pixels] * 3 if pixels.ndim == 2 else list(np.moveaxis(pixels, 2, 0))
        return np.stack([self._square(plane) for plane in planes])

    def _square(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resampled in float, so that averaging over many pixels adds grey levels and loses none."""
        side = (self.image_size, self.image_size)
        values = np.asarray(Image.fromarray(plane).resize(side, Image.Resampling.BICUBIC))
        return np.asarray(values.clip(0, 255) / 127.5 - 1, np.float32)


def eight_bits(picture: Picture) -> NDArray[np.uint8]:
    """(rows, columns) or (rows, columns, 3), as ingest shows the file: upright, and over black where it is
    transparent (of an array the fourth channel is dropped). Raises ``StudentError``."""
    if isinstance(picture, Image.Image):
        picture = _values(picture)
    if picture.ndim == 3 and picture.shape[2] in (1, 4):
        picture = picture[..., 0] if picture.shape[2] == 1 else picture[..., :3]
    if picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)) or 0 in picture.shape:
        raise StudentError(
            f"an image array has shape {picture.shape}", "give (rows, columns) or (rows, columns, 3)"
        )
    return to_display(picture)[0]


def _values(image: Image.Image) -> NDArray[Any]:
    """The stored values where PIL holds one number for each pixel, otherwise grey or colour of 8 bits."""
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        colour, opaque = np.split(np.asarray(image.convert("RGBA")), [3], axis=2)
        return (colour * (opaque / 255)).astype(np.uint8)
    if image.mode in ("L", "I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image)
    return np.asarray(image.convert("L" if image.mode in ("1", "LA", "La") else "RGB"))


class Speaks:
    """What the processors of all our students do with words."""

    tokenizer: PreTrainedTokenizerFast
    batch_decode: Any  # ProcessorMixin's

    def words(self, text: str) -> list[int]:
        """The ids of a text, in which no sign is special."""
        plain = self.tokenizer(text.strip(), add_special_tokens=False, split_special_tokens=True)
        return list(plain["input_ids"])

    def answer(self, text: str) -> list[int]:
        """The ids of an answer, closed by ``<EOS>``."""
        return [*self.words(text), self.tokenizer.eos_token_id]

    def answers(self, texts: Sequence[str]) -> Tensor:
        """Answers (K, L) padded on the right, as ``score_labels`` takes its class texts."""
        rows = [torch.tensor(self.answer(text)) for text in texts]
        return torch.nn.utils.rnn.pad_sequence(rows, True, float(self.tokenizer.pad_token_id))

    def said(self, sequences: Tensor, input_ids: Tensor) -> list[str]:
        """What ``generate`` added to the prompts ``input_ids``, in words."""
        return self.batch_decode(sequences[:, input_ids.shape[1] :], skip_special_tokens=True)


class MVaEMaProcessor(Speaks, ProcessorMixin):
    """``MVaEMaImageProcessor`` and tokenizer.

        question <Decode> answer <EOS>

    is what the student learns; called with images and questions, it makes what ``generate`` takes.
    """

    image_processor: MVaEMaImageProcessor

    def __init__(self, image_processor: MVaEMaImageProcessor, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__(image_processor, tokenizer)

    def __call__(
        self,
        images: Picture | Sequence[Picture | Sequence[Picture]] | None = None,
        text: str | Sequence[str] | None = None,
        return_tensors: str = "pt",
        **_: Any,
    ) -> BatchFeature:
        """``pixel_values`` of the images, ``input_ids`` and ``attention_mask`` of the questions.

        A question about several images has a list of them among ``images``; ``image_index`` (T, I) then says
        which they are. Questions are closed by ``<Decode>`` and padded on the left, always; what else the
        processors of ``transformers`` may be told (padding, truncation ...) changes nothing.

        Raises ``StudentError`` where lists of images and questions are not as many, or a list is empty.
        """
        data: dict[str, Any] = {}
        questions = [text] if isinstance(text, str) else text
        if images is not None:
            pictures, counts = _flat(images)
            if counts and (0 in counts or (questions is not None and len(questions) != len(counts))):
                raise StudentError(
                    f"lists of {counts} images for {questions}",
                    "give one list for each question, with one image or more",
                )
            data |= self.image_processor.preprocess(pictures, return_tensors=return_tensors)
            if counts:
                data |= BatchFeature({"image_index": _index(counts)}, tensor_type=return_tensors)
        if questions is not None:
            rows = [self.question(question) for question in questions]
            data |= self.tokenizer.pad(
                {"input_ids": rows}, padding_side="left", return_tensors=return_tensors
            )
        return BatchFeature(data)

    def look(self, pictures: Sequence[Picture], return_tensors: str = "pt") -> dict[str, Any]:
        """``pixel_values`` of the pictures."""
        return dict(self.image_processor.preprocess(pictures, return_tensors=return_tensors))

    def question(self, text: str) -> list[int]:
        """The ids of a question, closed by ``<Decode>``."""
        return [*self.words(text), self.tokenizer.bos_token_id]


def _flat(images: Picture | Sequence[Picture | Sequence[Picture]]) -> tuple[list[Picture], list[int]]:
    """The images one after another, and how many each list has; nothing where there are no lists."""
    several = [images] if isinstance(images, PICTURE) else list(images)
    rows = [[row] if isinstance(row, PICTURE) else list(row) for row in several]
    lists = not all(isinstance(row, PICTURE) for row in several)
    return [picture for row in rows for picture in row], [len(row) for row in rows] if lists else []


def _index(counts: Sequence[int]) -> list[list[int]]:
    """Numbers of so many images each, one after another; rows are filled up with ``NO_IMAGE``."""
    numbers = count()
    rows = [list(islice(numbers, images)) for images in counts]
    return [row + [NO_IMAGE] * (max(counts) - len(row)) for row in rows]
