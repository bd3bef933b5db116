"""QLoRA (Dettmers et al. 2023, arXiv:2305.14314): LoRA beside weights that bitsandbytes keeps in 4 bits.

The layers are PEFT's and bitsandbytes', and run on CUDA alone. A model is made 4-bit when it is whole, since
giving a language model sight may copy its weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from peft import PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils.integrations import dequantize_module_weight
from torch import nn
from transformers import PreTrainedModel

from micrographia.errors import PlanError

INSTEAD = "or choose dyqlora_fa, whose 8-bit weights need neither"


def require_four_bits() -> None:
    """Raises PlanError where there is no CUDA device, or bitsandbytes is not installed."""
    if not torch.cuda.is_available():
        raise PlanError(
            "tune.low_rank.method is qlora, whose 4-bit weights need a CUDA device, and there is none",
            f"tune on a machine with one, {INSTEAD}",
        )
    if find_spec("bitsandbytes") is None:
        raise PlanError(
            "tune.low_rank.method is qlora, and bitsandbytes is not installed",
            f"pip install 'micrographia[qlora]', {INSTEAD}",
        )


def four_bit_settings(dtype: torch.dtype) -> dict[str, Any]:
    """Of a 4-bit layer: NormalFloat, double quantisation, products in ``dtype`` (QLoRA, section 3)."""
    return {"quant_type": "nf4", "compress_statistics": True, "compute_dtype": dtype}


def to_four_bits(model: PreTrainedModel, names: Sequence[str]) -> None:
    """Put 4-bit layers, frozen and on the CUDA device, in place of the linear ones that are named."""
    import bitsandbytes

    for name in names:
        linear = model.get_submodule(name)
        has_bias = linear.bias is not None
        layer = bitsandbytes.nn.Linear4bit(
            *(linear.in_features, linear.out_features, has_bias), **four_bit_settings(linear.weight.dtype)
        )
        layer.weight.data, layer.bias = linear.weight.data, linear.bias
        model.set_submodule(name, layer.requires_grad_(False).to("cuda"))  # on its way it is quantised
    model.is_loaded_in_4bit = True  # by this PEFT knows it


def in_full(model: PeftModel) -> PeftModel:
    """The same adapters beside the dequantised weights: merging into 4-bit ones would round them again."""
    config = model.peft_config["default"]
    learned = get_peft_model_state_dict(model, save_embedding_layers=False)
    plain = model.unload()
    for name in config.target_modules:
        layer = plain.get_submodule(name)
        linear = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        linear.weight = nn.Parameter(dequantize_module_weight(layer).detach(), requires_grad=False)
        linear.bias = layer.bias
        plain.set_submodule(name, linear)
    plain.is_loaded_in_4bit = False
    full = get_peft_model(plain, config)
    set_peft_model_state_dict(full, learned)
    return full
