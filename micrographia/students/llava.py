"""The LLaVA shape (Liu 2023, arXiv:2304.08485): what an eye sees becomes part of a language model's text.

Between them stands a projector of two layers. The class is that of ``transformers``; any tower, ours or a
hub's, and any language model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import LlavaConfig, LlavaForConditionalGeneration, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from micrographia.students.configuration import VisionConfig
from micrographia.students.scoring import ScoresLabels

OURS = {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
"""All tokens of our eye; of a hub's tower LLaVA takes the last layer but one, without ``<cls>``."""


class SightedLlava(LlavaForConditionalGeneration, ScoresLabels):
    """LLaVA that can be asked as our other students are, and shown images that were looked at before.

    It has no weights or settings of its own: a folder that it saves is one of LLaVA.
    """

    @classmethod
    def of(
        cls, language_model: PreTrainedModel, vision: PreTrainedModel, image_token_id: int, **settings: Any
    ) -> SightedLlava:
        """Joined from models that are there; only the projector between them learns.

        ``settings`` are fields of ``LlavaConfig``.
        """
        ours = OURS if isinstance(vision.config, VisionConfig) else {}
        config = LlavaConfig(
            text_config=language_model.config.to_dict(),
            vision_config=vision.config.to_dict(),
            image_token_index=image_token_id,
            **{**ours, **settings},
        )
        model = cls(config)
        model.model.language_model.load_state_dict(language_model.get_decoder().state_dict())
        model.model.vision_tower.load_state_dict(vision.state_dict())
        model.lm_head.load_state_dict(language_model.get_output_embeddings().state_dict())
        model.tie_weights()
        model.generation_config = language_model.generation_config
        model.freeze()
        return model

    def freeze(self) -> None:
        """Only the projector learns: LLaVA's first stage."""
        self.requires_grad_(False)
        self.model.multi_modal_projector.requires_grad_()

    def encode_images(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """What the tower sees, (n, N, d), before the projector, and where it puts each image, (n, d)."""
        seen = self.model.vision_tower(pixel_values, output_hidden_states=True)
        tokens = seen.hidden_states[self.config.vision_feature_layer]
        placed = seen.cls if hasattr(seen, "cls") else seen.pooler_output
        default = self.config.vision_feature_select_strategy == "default"
        return (tokens[:, 1:] if default else tokens), placed

    def shown(self, prompt_ids: Tensor, image_tokens: Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
        """The images' tokens become part of the prompt, and of the cache."""
        return {"image_tokens": image_tokens}, {}

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_tokens: Tensor | None = None,
        mm_encoder_outputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """As LLaVA's; ``image_tokens`` (n, N, d) stand for ``pixel_values`` that were looked at before."""
        if image_tokens is not None:
            mm_encoder_outputs = self._projected(image_tokens)
        return super().forward(
            input_ids, pixel_values, attention_mask, mm_encoder_outputs=mm_encoder_outputs, **kwargs
        )

    @torch.no_grad()
    def generate(
        self, inputs: Tensor | None = None, *args: Any, image_tokens: Tensor | None = None, **kwargs: Any
    ) -> Any:
        """As LLaVA's; images that were looked at before are given as ``image_tokens``."""
        if image_tokens is not None:
            kwargs["mm_encoder_outputs"] = self._projected(image_tokens)
        return super().generate(inputs, *args, **kwargs)

    def _projected(self, image_tokens: Tensor) -> dict[str, Any]:
        features = self.model.multi_modal_projector(image_tokens)
        return {"image": BaseModelOutputWithPooling(pooler_output=list(features))}


# A folder that is saved says whose it is by the name of the class, and servers know LLaVA's alone.
SightedLlava.__name__ = LlavaForConditionalGeneration.__name__
