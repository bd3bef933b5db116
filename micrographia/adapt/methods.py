"""The ways in which a language model learns, by the names that a recipe gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel, TrainerCallback

from micrographia.adapt.dyqlora_fa import DyQLoRAFAConfig
from micrographia.adapt.four_bit import in_full, require_four_bits, to_four_bits
from micrographia.adapt.kept import keep
from micrographia.adapt.ranks import DrawRanks
from micrographia.errors import PlanError
from micrographia.recipe import LowRankSection

WITHOUT_ADAPTER = ("full", "none")


def adapter_config(section: LowRankSection, target_modules: Sequence[str], seed: int) -> PeftConfig:
    """The adapter that a recipe asks for, on the layers named. Methods "full" and "none" have none:
    ValueError."""
    names = list(target_modules)
    if section.method == "dyqlora_fa":
        return DyQLoRAFAConfig(
            target_modules=names,
            r_min=section.lowest_rank,
            r_max=section.rank,
            rank_weights=section.rank_weights,
            update=section.update,
            alpha=section.alpha,
            dropout=section.dropout,
            seed=seed,
        )
    if section.method in WITHOUT_ADAPTER:
        raise ValueError(f"method {section.method} has no adapter")
    return LoraConfig(
        target_modules=names,
        r=section.rank,
        lora_alpha=section.alpha,
        lora_dropout=section.dropout,
        use_rslora=section.method == "rslora",
        use_dora=section.method == "dora",
    )


def require_machine(section: LowRankSection, sharding: bool = False) -> None:
    """Raises PlanError where this machine, or processes that share the weights, cannot adapt so."""
    if section.method == "qlora":
        require_four_bits()
        if sharding:
            raise PlanError(
                "tune.low_rank.method is qlora, whose 4-bit weights cannot be shared by processes (FSDP)",
                "start them without the words on FSDP, or choose dyqlora_fa",
            )


def adapted(model: PreTrainedModel, section: LowRankSection, seed: int) -> PreTrainedModel | PeftModel:
    """``model`` as a method lets it learn, with adapters on its language model where the method has some;
    what was trained before goes on learning. Raises PlanError where all but the eye is to learn, and no eye
    is found."""
    if section.method == "none":
        return model
    if section.method == "full":
        return _all_but_the_eye(model)
    names = language_layers(model)
    if section.method == "qlora":
        to_four_bits(model, names)
        model.to("cuda")  # the plan tries it where its 4-bit layers are
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    made = get_peft_model(model, adapter_config(section, names, seed))
    for parameter in learning:
        parameter.requires_grad_()
    return made


def _all_but_the_eye(model: PreTrainedModel) -> PreTrainedModel:
    eye = model.get_encoder(modality="image")
    if eye is model:
        raise PlanError(
            f"tune.low_rank.method is full, and {type(model).__name__} names no image encoder to keep frozen",
            "choose a method with adapters",
        )
    model.requires_grad_(True)
    eye.requires_grad_(False)
    for parameter in model.parameters():
        if parameter.requires_grad:  # in bfloat16 most small updates would round to nothing
            parameter.data = parameter.data.float()
    return model


def rank_draws(section: LowRankSection) -> list[TrainerCallback]:
    """What draws a rank at each step, for the method that has several."""
    return [DrawRanks()] if section.method == "dyqlora_fa" else []


def settle(model: PreTrainedModel | PeftModel, folder: Path | None) -> None:
    """The adapters, if there are any, become part of the weights, in full precision; ``folder`` keeps both
    apart as well."""
    if not isinstance(model, PeftModel):
        return
    if getattr(model.get_base_model(), "is_loaded_in_4bit", False):
        model = in_full(model)
    if folder is not None:
        keep(model, folder)
    model.merge_and_unload()


def language_layers(model: PreTrainedModel) -> list[str]:
    """Names of the linear layers of the language model's decoder, without those that give it sight."""
    decoder = model.get_decoder()
    start = next(name for name, module in model.named_modules() if module is decoder)
    return [
        f"{start}.{name}"
        for name, module in decoder.named_modules()
        if isinstance(module, nn.Linear) and ".sight." not in name
    ]
