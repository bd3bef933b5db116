"""MVaEMa: a small assistant for micrographs, trained from nothing (Sakhinana 2024, "Multi-Modal
Instruction-Tuning Small-Scale Language-and-Vision Assistant for Semiconductor Electron Micrograph Analysis").

    pixels -> eye -> <cls>  ........................ ITC ........................  <cls> text encoder <- text
                  -> tokens -> image-grounded encoder  <Encode> text                -> match or not      (ITM)
                            -> image-grounded decoder  question <Decode> answer <EOS> -> next token      (LM)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers import initialization as init
from transformers.generation import GenerationMixin
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from micrographia.errors import StudentError
from micrographia.students import losses
from micrographia.students.configuration import MVaEMaConfig
from micrographia.students.scoring import ScoresLabels
from micrographia.students.side_by_side import side_by_side
from micrographia.students.text import KeyValue, TextStack
from micrographia.students.vision import VisionEncoder

COLDEST, HOTTEST = 0.001, 0.5
"""Between these the learnt temperature is held (BLIP's own limits)."""


@dataclass
class MVaEMaOutput(ModelOutput):
    """``loss`` is the sum of those of ``itc``, ``itm`` and ``lm`` that were computed.

    ``logits`` (T, L, vocabulary) stand where no labels were given.
    """

    loss: Tensor | None = None
    itc: Tensor | None = None
    itm: Tensor | None = None
    lm: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: EncoderDecoderCache | None = None


class MVaEMaForConditionalGeneration(PreTrainedModel, GenerationMixin, ScoresLabels):
    """Eye, text encoder, image-grounded encoder and image-grounded decoder."""

    config_class = MVaEMaConfig
    config: MVaEMaConfig
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    _supports_sdpa = True

    def __init__(self, config: MVaEMaConfig) -> None:
        super().__init__(config)
        d, seen = config.hidden_size, config.vision_config.hidden_size
        self.vision = VisionEncoder(config.vision_config)
        self.text = TextStack(config)
        self.project_image = nn.Linear(seen, config.projection_size)
        self.project_text = nn.Linear(d, config.projection_size)
        self.match = nn.Linear(d, 1)
        # Its logarithm is learnt: the gradient of a small temperature itself would drown all others.
        self.log_temperature = nn.Parameter(torch.empty(()))
        self.post_init()
        self.generation_config.max_new_tokens = config.max_position_embeddings // 2

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear) and module is not self.match:
            init.xavier_uniform_(module.weight)
            init.zeros_(module.bias)
        elif module is self.text.tokens:
            # So that a normalised state gives logits of unit variance through the tied embedding.
            init.normal_(module.weight, std=self.config.hidden_size**-0.5)
        else:
            super()._init_weights(module)
        if module is self:
            init.constant_(self.log_temperature, math.log(self.config.initial_temperature))

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding, which is the output embedding too."""
        return self.text.tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Used by ``resize_token_embeddings``."""
        self.text.tokens = value

    def encode_images(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Image tokens (B, N, d) of ``pixel_values`` (B, channels, height, width), and where the eye puts the
        images, (B, d)."""
        seen = self.vision(pixel_values)
        return seen.tokens, seen.cls

    def shown(self, prompt_ids: Tensor, image_tokens: Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
        """Image tokens beside the prompts; what follows finds them in the cache."""
        return {"image_tokens": image_tokens}, {}

    def shown_several(
        self, prompt_ids: Tensor, image_tokens: Tensor, image_index: Tensor
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Tokens of each prompt's images side by side; what follows must be told again which are there."""
        seen = tokens_of(image_tokens, image_index)
        return seen, seen

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        image_index: Tensor | None = None,
        itc_input_ids: Tensor | None = None,
        itc_attention_mask: Tensor | None = None,
        groups: Tensor | None = None,
        image_tokens: Tensor | None = None,
        image_attention_mask: Tensor | None = None,
        image_cls: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: EncoderDecoderCache | DynamicCache | None = None,
        use_cache: bool = False,
        logits_to_keep: int = 0,
    ) -> MVaEMaOutput:
        """Losses where ``labels`` or ``itc_input_ids`` are given, otherwise the next token's logits.

        ``pixel_values`` (B, C, H, W), each encoded once. ``input_ids`` (T, L): T >= B rows of question,
        ``<Decode>``, answer, ``<EOS>``; row t is about image ``image_index[t]``, or image t without it, or
        about several: ``image_index`` (T, I) has them in their order, filled up with ``NO_IMAGE``.
        ``labels`` (T, L): the ids again, ``losses.IGNORED`` on all but the answer and its ``<EOS>``.
        ``itc_input_ids`` (B, K): one plain text for each image, without special tokens; ITC and ITM need
        it. ``groups`` (B,) whole numbers: images whose texts may be true of each other.
        ``image_tokens`` (B, N, d), and for ITC and ITM ``image_cls`` (B, d), stand for ``pixel_values`` that
        have been encoded before. Tokens of several images that stand ``side_by_side`` already bring their
        ``image_attention_mask`` (T, I N) instead of an index.

        Raises ``StudentError`` for images or texts of a size that the student was not made for.
        """
        cache = _paired(past_key_values, use_cache)
        parts: dict[str, Tensor] = {}
        if cache is not None and cache.get_seq_length():
            image = [(layer.keys, layer.values) for layer in cache.cross_attention_cache.layers]
        else:
            if pixel_values is not None:
                seen = self.vision(pixel_values)
                image_tokens, image_cls = seen.tokens, seen.cls
            if image_tokens is None:
                raise StudentError("there is no image", "give pixel_values or image_tokens")
            image = self.text.remember(image_tokens)
            if itc_input_ids is not None and (self.config.itc or self.config.itm):
                parts |= self._compare(image_cls, image, itc_input_ids, itc_attention_mask, groups)
            if image_index is not None:
                image, image_attention_mask = self._of_texts(image, image_tokens, image_index)
            image = _kept(image, cache)
        if input_ids is None or (labels is not None and not self.config.lm):
            nothing = None if labels is None else 0 * self.log_temperature  # a batch with nothing to compare
            return MVaEMaOutput(loss=_total(parts) if parts else nothing, **parts)
        image_mask = _visible(image_attention_mask, len(input_ids))
        hidden = self.text.decode(input_ids, attention_mask, position_ids, image, image_mask, cache)
        if labels is None:
            logits = self.text.logits(hidden[:, -logits_to_keep:])
            return MVaEMaOutput(loss=_total(parts), **parts, logits=logits, past_key_values=cache)
        answer = labels[:, 1:] != losses.IGNORED
        parts["lm"] = losses.language_loss(self.text.logits(hidden[:, :-1][answer]), labels[:, 1:][answer])
        return MVaEMaOutput(loss=_total(parts), **parts)

    def _of_texts(
        self, image: list[KeyValue], image_tokens: Tensor, image_index: Tensor
    ) -> tuple[list[KeyValue], Tensor | None]:
        """Keys and values for each text, and which of its image tokens are there; None where all are."""
        if image_index.ndim == 1:
            return rows_of(image, image_index), None
        tokens, mask = side_by_side(image_tokens, image_index)
        return self.text.remember(tokens), mask

    def _compare(
        self,
        image_cls: Tensor | None,
        image: list[KeyValue],
        input_ids: Tensor,
        attention_mask: Tensor | None,
        groups: Tensor | None,
    ) -> dict[str, Tensor]:
        """ITC and ITM over the batch, where they are switched on."""
        if image_cls is None:
            raise StudentError("ITC and ITM need the <cls> of the images", "give pixel_values, or image_cls")
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        same = losses.same_text(input_ids, mask)
        groups = torch.arange(len(input_ids), device=same.device) if groups is None else groups
        related = groups[:, None] == groups
        similarity = self._similarity(image_cls, input_ids, mask)
        parts = {}
        if self.config.itc:
            parts["itc"] = losses.contrastive_loss(similarity, same, related)
        if not self.config.itm:
            return parts
        pairs = losses.matching_pairs(similarity.detach(), same | related, sample=self.training)
        if pairs is not None:
            images, texts, labels = pairs
            ids, mask = self._headed(self.config.encode_token_id, input_ids[texts], mask[texts])
            fused = self.text.summary(ids, mask, rows_of(image, images))
            parts["itm"] = losses.matching_loss(self.match(fused).squeeze(1), labels)
        return parts

    def _similarity(self, image_cls: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Cosine of every image with every text over the temperature, (B, B)."""
        if self.training:
            with torch.no_grad():
                self.log_temperature.clamp_(math.log(COLDEST), math.log(HOTTEST))
        ids, mask = self._headed(self.config.cls_token_id, input_ids, attention_mask)
        images = F.normalize(self.project_image(image_cls), dim=-1)
        texts = F.normalize(self.project_text(self.text.summary(ids, mask)), dim=-1)
        return images @ texts.T / self.log_temperature.exp()

    def _headed(self, token: int, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The texts and their mask with ``token`` put first."""
        return F.pad(input_ids, (1, 0), value=token), F.pad(attention_mask, (1, 0), value=1)

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        *args: Any,
        pixel_values: Tensor | None = None,
        image_index: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """``transformers``' own ``generate``; the images are encoded once, before any beam is split.

        ``inputs`` or ``input_ids`` are questions, each closed by ``<Decode>`` and padded on the left;
        ``image_index`` says which image or images each is about, as in ``forward``.
        """
        if pixel_values is not None:
            kwargs["image_tokens"] = self.look(pixel_values)
        if image_index is not None and "image_tokens" in kwargs:
            kwargs |= tokens_of(kwargs["image_tokens"], image_index)
        return super().generate(inputs, *args, **kwargs)


def rows_of(image: list[KeyValue], index: Tensor) -> list[KeyValue]:
    """Keys and values of the images ``index``, one for each row of text."""
    return [(key[index], value[index]) for key, value in image]


def tokens_of(image_tokens: Tensor, image_index: Tensor) -> dict[str, Tensor]:
    """What ``forward`` takes in place of images and their index: the image tokens of each text."""
    if image_index.ndim == 1:
        return {"image_tokens": image_tokens[image_index]}
    tokens, mask = side_by_side(image_tokens, image_index)
    return {"image_tokens": tokens, "image_attention_mask": mask}


def _visible(mask: Tensor | None, rows: int) -> Tensor | None:
    """``mask`` (T, N) for ``rows`` texts, several for each of its rows; None where nothing is hidden."""
    if mask is None or mask.all():
        return None
    return mask.bool().repeat_interleave(rows // len(mask), 0)


def _kept(image: list[KeyValue], cache: EncoderDecoderCache | None) -> list[KeyValue]:
    """The same, put into ``cache`` too where there is one."""
    if cache is not None:
        for layer, (key, value) in enumerate(image):
            cache.cross_attention_cache.update(key, value, layer)
            cache.is_updated[layer] = True
    return image


def _total(parts: dict[str, Tensor]) -> Tensor | None:
    return sum(parts.values(), start=torch.zeros(())) if parts else None


def _paired(cache: EncoderDecoderCache | DynamicCache | None, use_cache: bool) -> EncoderDecoderCache | None:
    """A cache with a place for the text and one for the image."""
    if (cache is None and not use_cache) or isinstance(cache, EncoderDecoderCache):
        return cache
    return EncoderDecoderCache(DynamicCache() if cache is None else cache, DynamicCache())
