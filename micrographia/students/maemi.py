"""MAEMI: a language model that was never shown an image is given sight by gated cross-attention
("Instruction-Tuning Small-Scale Language-and-Vision Assistant for Electron Micrograph Analysis", figure 2).

    pixels -> eye -> image tokens ──┐ K, V
    <image> question <Encode> -> [gated cross-attention -> layer] x n -> answer <EOS>

Any decoder-only language model of ``transformers`` and any vision encoder, ours or a hub's. Both are frozen
unless told otherwise; what learns is the blocks between them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from micrographia.errors import StudentError
from micrographia.students.configuration import MAEMIConfig
from micrographia.students.cross_attention import SeenImages, give_sight
from micrographia.students.losses import IGNORED
from micrographia.students.plain_generation import plain
from micrographia.students.scoring import ScoresLabels
from micrographia.students.vision import as_taken


@dataclass
class MAEMIOutput(ModelOutput):
    """``loss`` over the answers; ``logits`` (B, L, vocabulary), or of the places asked for."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Any = None


class MAEMIForConditionalGeneration(PreTrainedModel, GenerationMixin, ScoresLabels):
    """Eye, language model, and gated cross-attention before its layers.

    MAEMIForConditionalGeneration(config)                            from nothing
    MAEMIForConditionalGeneration.of(language_model, vision, ...)    from models that are there
    """

    config_class = MAEMIConfig
    config: MAEMIConfig
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _skip_keys_device_placement = ("past_key_values", "seen_images")

    def __init__(
        self,
        config: MAEMIConfig,
        language_model: PreTrainedModel | None = None,
        vision: PreTrainedModel | None = None,
    ) -> None:
        from transformers import (  # at the top half loaded: see ``auto_classes``
            AutoModel,
            AutoModelForCausalLM,
        )

        super().__init__(config)
        self.language_model = language_model or AutoModelForCausalLM.from_config(config.text_config)
        self.vision = vision or AutoModel.from_config(config.vision_config)
        give_sight(
            self.language_model,
            every=config.cross_attention_every,
            seen_size=config.vision_config.hidden_size,
            heads=config.cross_attention_heads,
            key_size=config.cross_attention_key_size,
            factor=config.feed_forward_factor,
        )
        self.post_init()

    @classmethod
    def of(
        cls, language_model: PreTrainedModel, vision: PreTrainedModel, **settings: Any
    ) -> MAEMIForConditionalGeneration:
        """Joined from models that are there, both frozen; ``settings`` are fields of ``MAEMIConfig``."""
        # Copies: how a part attends is written into its configuration, and would be written over here.
        parts = {"text_config": language_model.config, "vision_config": vision.config}
        config = MAEMIConfig(**copy.deepcopy(parts), **settings)
        model = cls(config, language_model, vision)
        model.generation_config = plain(language_model.generation_config)
        model.freeze()
        return model

    def freeze(self) -> None:
        """Only the gated cross-attention learns."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(".sight." in name)

    def get_input_embeddings(self) -> nn.Module:
        """The language model's."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Used by ``resize_token_embeddings``."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The language model's."""
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Used by ``resize_token_embeddings``."""
        self.language_model.set_output_embeddings(value)

    def get_decoder(self) -> nn.Module:
        """The language model's."""
        return self.language_model.get_decoder()

    def encode_images(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Image tokens (n, N, d) of ``pixel_values`` (n, channels, height, width), and where the eye puts
        each image, (n, d): its ``<cls>``, or what a hub's tower gives in its place."""
        seen = self.vision(as_taken(self.vision, pixel_values))
        if hasattr(seen, "tokens"):
            return seen.tokens, seen.cls
        pooled = getattr(seen, "pooler_output", None)
        return seen.last_hidden_state, seen.last_hidden_state.mean(1) if pooled is None else pooled

    def shown(self, prompt_ids: Tensor, image_tokens: Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
        """The images where they stand in the prompts; what follows sees them too."""
        seen = {"seen_images": self.see(prompt_ids, None, image_tokens)}
        return seen, seen

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_tokens: Tensor | None = None,
        labels: Tensor | None = None,
        past_key_values: Any = None,
        seen_images: SeenImages | None = None,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> MAEMIOutput:
        """The loss where ``labels`` are given, and the next tokens' logits.

        ``input_ids`` (B, L) with as many ``<image>`` as there are images, which come in the order of reading,
        rows after one another: ``pixel_values`` (n, channels, height, width), or ``image_tokens`` (n, N, d)
        of images that have been looked at before. ``labels`` (B, L): the ids again, -100 on all but answers;
        the loss is their mean, or their sum over ``num_items_in_batch``.

        Raises ``StudentError`` where the images are not as many as their places.
        """
        if seen_images is None:
            seen_images = self.see(input_ids, pixel_values, image_tokens)
        elif past_key_values is not None and past_key_values.get_seq_length():
            seen_images = seen_images.after(len(input_ids))
        else:
            seen_images = seen_images.at(self._times(input_ids))
        if labels is not None:
            logits_to_keep = _before_answers(labels)
        told = self.language_model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            logits_to_keep=logits_to_keep,
            seen_images=seen_images,
            **kwargs,
        )
        if seen_images is not None and not seen_images.used:
            raise StudentError(
                f"{type(self.language_model).__name__} does not hand on to its layers what is seen",
                "choose a language model of the Llama, Qwen, Gemma or SmolLM kind",
            )
        loss = None
        if labels is not None:
            wanted = labels[:, logits_to_keep + 1]
            loss = self.language_model.loss_function(
                logits=told.logits,
                labels=wanted,
                shift_labels=wanted,
                vocab_size=self.config.text_config.vocab_size,
                num_items_in_batch=num_items_in_batch,
            )
        return MAEMIOutput(loss=loss, logits=told.logits, past_key_values=told.past_key_values)

    def see(
        self, input_ids: Tensor, pixel_values: Tensor | None, image_tokens: Tensor | None
    ) -> SeenImages | None:
        """The images where they stand in the text; None where there are none. Raises ``StudentError``."""
        times = self._times(input_ids)
        counts = times[:, -1]
        given = pixel_values if image_tokens is None else image_tokens
        wanted, came = int(counts.sum()), 0 if given is None else len(given)
        if wanted != came:
            raise StudentError(
                f"the texts have {wanted} <image>, and {came} images came", "give one image for each <image>"
            )
        if given is None:
            return None
        features = self.look(given) if image_tokens is None else image_tokens
        rows = features.new_zeros(len(counts), int(counts.max()), *features.shape[1:])
        rows[torch.arange(rows.shape[1], device=counts.device) < counts[:, None]] = features
        return SeenImages(rows, times, self.config.sees)

    def _times(self, input_ids: Tensor) -> Tensor:
        """(B, L) how many images stand at or before each token."""
        return (input_ids == self.config.image_token_id).cumsum(1)

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        *args: Any,
        pixel_values: Tensor | None = None,
        image_tokens: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """``transformers``' own ``generate``; images are looked at once. Prompts are padded on the left."""
        ids: Any = kwargs.get("input_ids") if inputs is None else inputs
        kwargs["seen_images"] = self.see(ids, pixel_values, image_tokens)
        return super().generate(inputs, *args, **kwargs)


def _before_answers(labels: Tensor) -> Tensor:
    """Places whose next token some row answers with: at no others are logits needed."""
    return (labels[:, 1:] != IGNORED).any(0).nonzero().squeeze(1)
