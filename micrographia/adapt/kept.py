"""What stays of adapters that have become part of a model's weights: enough to have them apart again.

    adapter_config.json, adapter_model.safetensors     the adapter in PEFT's own format
    frozen.safetensors                                 weights of the adapted layers, as they were in tuning

The weights are kept and not reckoned back from the merged ones, which would not give them to the last bit:
those of DyQLoRA-FA are 8-bit, a quarter of single precision.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from peft import PeftConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from micrographia.adapt.adapter_files import CONFIG, load_lora, write_adapter
from micrographia.adapt.dyqlora_fa import DyQLoRAFAConfig
from micrographia.adapt.int8 import Int8Linear
from micrographia.errors import RecipeError, StudentError

FROZEN = "frozen.safetensors"
TUNE_AGAIN = "move the student's folder away and run `micrographia tune` again"


def keep(model: PeftModel, folder: Path) -> None:
    """Write the adapter and the weights that it stands beside; to be called before they are merged."""
    write_adapter(model, folder)
    frozen = {
        f"{name}.{part}": tensor.detach().cpu().contiguous()
        for name, layer in model.get_base_model().named_modules()
        if isinstance(layer, BaseTunerLayer)
        for part, tensor in layer.get_base_layer().named_parameters()
        if part != "bias"
    }
    save_file(frozen, folder / FROZEN, metadata={"format": "pt"})


def kept_config(folder: Path) -> PeftConfig | None:
    """What shapes the adapter in ``folder``; None where none was kept. Raises StudentError."""
    if not (folder / CONFIG).is_file():
        return None
    try:
        return PeftConfig.from_pretrained(folder)
    except (OSError, ValueError, TypeError, KeyError) as error:
        cause = " ".join(str(error).split())
        raise StudentError(f"{folder / CONFIG} cannot be read ({cause})", TUNE_AGAIN) from None


def highest_rank(config: PeftConfig) -> int:
    """The greatest rank of an adapter; one of PEFT's own has no other."""
    return int(config.r_max if isinstance(config, DyQLoRAFAConfig) else config.r)


def require_rank(config: PeftConfig, rank: int) -> None:
    """Raises RecipeError for a rank at which the adapter was not tuned."""
    if isinstance(config, DyQLoRAFAConfig):
        if not config.r_min <= rank <= config.r_max:
            raise RecipeError(
                f"rank {rank} was not tuned", f"choose one from {config.r_min} to {config.r_max}"
            )
    elif rank != config.r:
        raise RecipeError(
            f"rank {rank} was not tuned: the adapter has rank {config.r} alone",
            "leave the rank out; one tuning by dyqlora_fa has many",
        )


def restored(model: PreTrainedModel, folder: Path) -> PeftModel:
    """``model``, whose weights the adapter in ``folder`` is part of, as it was tuned: both apart again.

    In evaluation mode and single precision: in half precision one form of it would answer otherwise than
    another by rounding alone. Raises StudentError where the files are damaged or of another model.
    """
    try:
        frozen = _freeze_again(model.float(), folder)
        dynamic = isinstance(kept_config(folder), DyQLoRAFAConfig)
        made = PeftModel.from_pretrained(model, folder).eval() if dynamic else load_lora(model, folder)
    except (OSError, SafetensorError, RuntimeError) as error:
        cause = " ".join(str(error).split())
        raise StudentError(f"the adapter in {folder} cannot be loaded ({cause})", TUNE_AGAIN) from None
    adapted = {name for name, layer in model.named_modules() if isinstance(layer, BaseTunerLayer)}
    if adapted != frozen:
        raise StudentError(
            f"{folder / FROZEN} has the weights of {len(adapted & frozen)} of {len(adapted)} adapted layers",
            TUNE_AGAIN,
        )
    return made


def _freeze_again(model: PreTrainedModel, folder: Path) -> set[str]:
    """The names of the layers that got back the weights they had in tuning."""
    layers: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in load_file(folder / FROZEN).items():
        name, _, part = key.rpartition(".")
        layers[name][part] = tensor.to(model.device)
    places = dict(model.named_modules())
    lost = [name for name, parts in layers.items() if not _fits(parts, places.get(name))]
    if lost:
        raise StudentError(
            f"{len(lost)} of the {len(layers)} layers in {folder / FROZEN} have no place in the model, "
            f"{min(lost)} among them",
            TUNE_AGAIN,
        )
    for name, parts in layers.items():
        linear = places[name]
        if "scale" in parts:
            layer = Int8Linear(parts["weight"], parts["scale"], linear.bias, linear.weight.dtype)
            model.set_submodule(name, layer)
        else:
            linear.weight.data = parts["weight"].float()
    return set(layers)


def _fits(parts: dict[str, Tensor], layer: nn.Module | None) -> bool:
    return isinstance(layer, nn.Linear) and "weight" in parts and layer.weight.shape == parts["weight"].shape
