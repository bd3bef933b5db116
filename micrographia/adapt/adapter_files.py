"""An adapter's two files: written without asking any hub, read so that every tensor finds its place."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from micrographia.errors import StudentError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What PEFT puts before the names of the wrapped model's modules."""


def write_adapter(model: PeftModel, folder: Path, base: str | None = None) -> None:
    """The adapter as PEFT writes it; ``base`` is the name of the model that it belongs to."""
    config = copy.copy(model.peft_config["default"])
    config.inference_mode = True
    config.base_model_name_or_path = base
    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    folder.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, folder / WEIGHTS, metadata={"format": "pt"})
    config.save_pretrained(folder)


def load_lora(base: PreTrainedModel, folder: Path) -> PeftModel:
    """``base`` with the LoRA adapter in ``folder``, by PEFT, in evaluation mode.

    Raises StudentError with the counts where something does not fit: PEFT itself only warns.
    """
    tensors = load_file(folder / WEIGHTS)
    linear = {name: module for name, module in base.named_modules() if isinstance(module, nn.Linear)}
    lost = [key for key, tensor in tensors.items() if not _fits(key, tensor, linear)]
    if lost:
        raise StudentError(
            f"{len(lost)} of {len(tensors)} tensors of the adapter in {folder} have no place in the model, "
            f"among them {min(lost)}",
            "it was tuned for another model",
        )
    single = any(tensor.dtype == torch.float32 for tensor in tensors.values())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found missing adapter keys", UserWarning)
        model = PeftModel.from_pretrained(base, folder, autocast_adapter_dtype=single).eval()
    there = get_peft_model_state_dict(model, save_embedding_layers=False)
    empty = [key for key, tensor in there.items() if not _same(tensor, tensors.get(key))]
    if empty:
        raise StudentError(
            f"{len(empty)} of {len(there)} places of the model got no tensor from the adapter in {folder}, "
            f"among them {min(empty)}",
            "its file is not whole: export it again",
        )
    return model


def _fits(key: str, tensor: Tensor, linear: Mapping[str, nn.Linear]) -> bool:
    name, _, kind = key.removeprefix(PREFIX).removesuffix(".weight").rpartition(".")
    layer = linear.get(name)
    if layer is None:
        return False
    if kind == "lora_A":
        return layer.in_features == tensor.shape[1]
    return kind in ("lora_B", "lora_magnitude_vector") and layer.out_features == tensor.shape[0]


def _same(placed: Tensor, given: Tensor | None) -> bool:
    return given is not None and torch.equal(placed.cpu(), given.to(placed.dtype))
