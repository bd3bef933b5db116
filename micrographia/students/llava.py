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
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from micrographia.errors import StudentError
from micrographia.students.configuration import VisionConfig
from micrographia.students.plain_generation import plain
from micrographia.students.scoring import ScoresLabels
from micrographia.students.vision import as_taken


class SightedLlava(LlavaForConditionalGeneration, ScoresLabels):
    """LLaVA that can be asked as our other students are, and shown images that were looked at before.

    It has no weights or settings of its own: a folder that it saves is one of LLaVA.
    """

    @classmethod
    def of(
        cls, language_model: PreTrainedModel, vision: PreTrainedModel, image_token_id: int, **settings: Any
    ) -> SightedLlava:
        """Joined from models that are there, themselves and not copies; only the projector between them, in
        float32, learns.

        ``settings`` are fields of ``LlavaConfig``. Raises ``StudentError`` for a language model that LLaVA
        cannot hold.
        """
        _require_fitting(language_model)
        config = LlavaConfig(
            text_config=language_model.config.to_dict(),
            vision_config=vision.config.to_dict(),
            image_token_index=image_token_id,
            **{**_selection(vision), **settings},
        )
        with torch.device("meta"):  # a second whole model would be made, only to be thrown away
            model = cls(config)
        model.model.language_model = language_model.base_model
        model.model.vision_tower = vision
        model.lm_head = language_model.get_output_embeddings()
        model.model.multi_modal_projector = LlavaMultiModalProjector(config).apply(model._init_weights)
        model.generation_config = plain(language_model.generation_config)
        model.freeze()
        return model

    def freeze(self) -> None:
        """Only the projector learns: LLaVA's first stage."""
        self.requires_grad_(False)
        self.model.multi_modal_projector.requires_grad_()

    def encode_images(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """What the tower sees, (n, N, d), before the projector, and where it puts each image, (n, d)."""
        tower = self.model.vision_tower
        seen = tower(as_taken(tower, pixel_values), output_hidden_states=True)
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
        if pixel_values is not None:
            image_tokens = self.look(pixel_values)
        if image_tokens is not None:
            mm_encoder_outputs = self._projected(image_tokens)
        return super().forward(
            input_ids, None, attention_mask, mm_encoder_outputs=mm_encoder_outputs, **kwargs
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
        projector = self.model.multi_modal_projector
        features = projector(image_tokens.to(projector.linear_1.weight.dtype))
        return {"image": BaseModelOutputWithPooling(pooler_output=list(features))}


def _require_fitting(language_model: PreTrainedModel) -> None:
    """LLaVA finds the embedding where Llama has it, and has no other bias of the words."""
    if (
        hasattr(language_model.base_model, "embed_tokens")
        and getattr(language_model.get_output_embeddings(), "bias", None) is None
    ):
        return
    raise StudentError(
        f"{type(language_model).__name__} is built in another way than the language models of LLaVA",
        "choose one of the Llama, Qwen, Gemma or SmolLM kind, or make a student of the maemi kind",
    )


@torch.no_grad()
def _selection(vision: PreTrainedModel) -> dict[str, Any]:
    """Which tokens of a tower LLaVA takes: of ours all, of a hub's those of the last layer but one, of which
    it can leave out the first.

    That is right where nothing but ``<cls>`` stands before the grid (CLIP), which is found out by looking at
    an image. All are taken where nothing does (SigLIP), and where more does: registers (DINOv3's) would stay
    behind anyhow, and every LLaVA that loads the student must take the same.
    """
    config = vision.config
    if isinstance(config, VisionConfig):
        return {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
    image = torch.zeros(1, config.num_channels, config.image_size, config.image_size, device=vision.device)
    tokens = vision(as_taken(vision, image)).last_hidden_state.shape[1]
    in_front = tokens - (config.image_size // config.patch_size) ** 2
    return {"vision_feature_select_strategy": "default" if in_front == 1 else "full"}


# A folder that is saved says whose it is by the name of the class, and servers know LLaVA's alone.
SightedLlava.__name__ = LlavaForConditionalGeneration.__name__
