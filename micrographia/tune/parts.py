"""Eye and language model that a student with sight is joined from: our own, that learn here, or yours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from micrographia.errors import PlanError
from micrographia.students.plain_generation import plain
from micrographia.students.prompts import in_colour, with_places
from micrographia.students.vision import VisionEncoder
from micrographia.tune.given import given_folder
from micrographia.tune.language import small_language_model
from micrographia.tune.pixels import Pixels, Scaling, image_keys, prepare
from micrographia.tune.run import Run

LONGEST = 256
"""Tokens of a question and its answer that a small language model learns from, without its image's."""
POSITIONS = 1024
"""Tokens that a small language model can read: several images and what is said of them."""

UNREADABLE: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    LookupError,
    RuntimeError,
    SafetensorError,
)
"""What loading a damaged folder raises."""


@dataclass(frozen=True)
class Eye:
    """A vision encoder and what it takes."""

    vision: PreTrainedModel
    image_processor: Any
    pixels: Pixels
    learns: bool
    """Whether it is our own, and learns labels before it is frozen."""
    key: str = ""
    """Of its weights, where it does not learn."""
    image_keys: Sequence[str] = ()
    """Of what it is given to see of each image, where it does not learn."""


@dataclass(frozen=True)
class Language:
    """A language model and its words."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    longest: int
    """Tokens of a question and its answer, without its image's."""
    learns: bool
    """Whether it is our own, and learns to speak before it is joined to an eye."""

    @property
    def positions(self) -> int:
        """Tokens that it can read, all that stands before a question among them."""
        return int(self.model.config.get_text_config().max_position_embeddings)


def eye_of(run: Run) -> Eye:
    """The recipe's. Raises PlanError for our own without labels to learn, and for a folder that holds
    none."""
    if run.recipe.vision_encoder is not None:
        return _given_eye(run, folder_of(run, run.recipe.vision_encoder, "tune.vision_encoder"))
    if not run.labels_first:
        raise PlanError(
            "the eye is frozen while words are learned, and there are no labels to teach it by",
            "give the training and validation images labels and leave tune.labels.epochs above 0, or give a "
            "vision encoder that has learned, as tune.vision_encoder",
        )
    return Eye(VisionEncoder(run.vision), run.image_processor(), run.pixels, learns=True)


def language_of(run: Run) -> Language:
    """The recipe's. Raises PlanError for a folder that holds none."""
    if run.recipe.language_model.folder is not None:
        return _given_language(folder_of(run, run.recipe.language_model.folder, "tune.language_model.folder"))
    tokenizer = with_places(run.tokenizer())
    model = small_language_model(tokenizer, POSITIONS)
    model.generation_config.max_new_tokens = LONGEST // 2
    return Language(model, tokenizer, LONGEST, learns=True)


def folder_of(run: Run, name: str, field: str) -> Path:
    """A folder that the recipe names, seen from the workspace. Raises PlanError where it holds no model."""
    return given_folder(run.workspace, name, field)


def _given_eye(run: Run, folder: Path) -> Eye:
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        vision = whole_model(MODEL_MAPPING[type(getattr(config, "vision_config", config))], folder)
        image_processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
        _take_whole_images(image_processor, getattr(vision.config, "image_size", None))
        scaling = _scaling(image_processor)
    except UNREADABLE as error:
        raise refused("tune.vision_encoder", folder, error) from error
    pixels = prepare(run.workspace, run.corpus.micrographs, scaling, run.progress)
    keys = image_keys(run.corpus.micrographs, scaling)
    return Eye(vision, image_processor, pixels, False, _digest(vision), keys)


def _digest(model: PreTrainedModel) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _take_whole_images(image_processor: Any, side: int | None) -> None:
    """As our own eye has them: what stands at the edges of a micrograph is asked about too."""
    if side is None:
        crop = image_processor.crop_size or image_processor.size
        side = crop.get("height") or crop["shortest_edge"]
    image_processor.size = {"height": side, "width": side}
    image_processor.do_center_crop = False


def _scaling(image_processor: Any) -> Scaling:
    def scale(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = image_processor([in_colour(image)], return_tensors="np")["pixel_values"][0]
        return np.asarray(pixels, np.float32)

    size = scale(np.zeros((64, 80), np.uint8)).shape[-1]
    return Scaling(size, scale, grey=False, settings=image_processor.to_json_string())


def _given_language(folder: Path) -> Language:
    try:
        model = whole_model(AutoModelForCausalLM, folder)
        tokenizer = with_places(AutoTokenizer.from_pretrained(folder, local_files_only=True))
    except UNREADABLE as error:
        raise refused("tune.language_model.folder", folder, error) from error
    model.resize_token_embeddings(max(len(tokenizer), model.config.get_text_config().vocab_size))
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    model.generation_config = plain(
        model.generation_config,
        eos_token_id=tokenizer.eos_token_id,  # what an answer ends in as it is learned
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=model.generation_config.max_new_tokens or LONGEST // 2,
    )
    longest = model.config.get_text_config().max_position_embeddings
    return Language(model, tokenizer, longest, learns=False)


def whole_model(kind: Any, folder: Path) -> PreTrainedModel:
    """Raises ValueError where weights are missing: transformers only warns, and makes some up."""
    model, report = kind.from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        dtype="auto" if torch.cuda.is_available() else torch.float32,
        output_loading_info=True,
    )
    lacking = [*report["missing_keys"], *report["mismatched_keys"]]
    if lacking:
        raise ValueError(f"{len(lacking)} weights are missing or of another shape, {lacking[0]} among them")
    return model


def refused(field: str, folder: Path, error: Exception) -> PlanError:
    """What is said of a folder that cannot be loaded."""
    cause = " ".join(str(error).split())
    return PlanError(f"{field}: {folder} cannot be loaded ({cause})", "name the folder of a whole model")
