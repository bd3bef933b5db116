"""From one tuning to any rank: a plain LoRA adapter that everybody loads, whole weights, and the proof that
both answer as the tuned model does.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging

from micrographia.adapt.dyqlora_fa import A, B, DyQLoRAFALinear
from micrographia.adapt.int8 import Int8Linear
from micrographia.errors import StudentError

ADAPTER, MERGED, REPORT = "adapter", "merged", "export.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What PEFT puts before the names of the wrapped model's modules."""
ANSWER_TOKENS = 32

Probe = Mapping[str, Tensor]
"""One input of the model: ``input_ids``, ``attention_mask``, images."""


@dataclass(frozen=True)
class Export:
    """What was written, and what shows that it is the tuned model."""

    rank: int
    probes: int
    """Questions that all three forms answer with just the same tokens."""
    tensors: int
    """Of the adapter's file; each found its place in the model, and no place stayed empty."""
    adapter_difference: float
    """Greatest difference of the next token's logits, over all probes, from the tuned model."""
    merged_difference: float
    """The same of the merged model."""


def export(
    model: PeftModel, folder: Path, rank: int, probes: Sequence[Probe], base: Callable[[], PreTrainedModel]
) -> Export:
    """Write ``model`` at ``rank`` to ``folder``: ``adapter/``, a plain LoRA of that rank; ``merged/``, whole.

    ``base`` loads the model that the adapter is to be used with. Both forms are loaded again from their
    files, the adapter by PEFT alone, and asked ``probes``. Raises StudentError, and leaves what was in
    ``folder`` before, where a tensor has no place, a place no tensor, or an answer is not that of ``model``.

    Of 8-bit weights the merged model is the dequantised one. Beside weights that were never quantised an
    adapter answers otherwise by what quantisation lost; where that shows, give ``dequantised`` ones as base.
    """
    logging.disable_progress_bar()  # those of writing and loading would run through ours
    draft = folder.with_name(f".{folder.name}-part")
    shutil.rmtree(draft, ignore_errors=True)
    model.eval()
    model.set_rank(rank)
    try:
        told = [_reply(model, probe) for probe in probes]
        write_lora(model, draft / ADAPTER, rank)
        adapted = load_lora(base(), draft / ADAPTER).to(model.device)
        adapter_difference = _require_alike(adapted, probes, told, "the adapter's file")
        del adapted
        write_merged(model, draft / MERGED)
        whole = type(model.get_base_model()).from_pretrained(draft / MERGED, local_files_only=True)
        merged_difference = _require_alike(whole.to(model.device), probes, told, "the merged model")
        tensors = len(load_file(draft / ADAPTER / WEIGHTS))
        report = Export(rank, len(probes), tensors, adapter_difference, merged_difference)
        (draft / REPORT).write_text(json.dumps(asdict(report), indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        model.set_rank(None)
    return report


def write_lora(model: PeftModel, folder: Path, rank: int, adapter_name: str = "default") -> None:
    """The adapter at ``rank`` as PEFT's LoRA: r = rank and the same alpha, whose quotient is the scale."""
    layers = dict(_adapted(model, adapter_name))
    tensors = {}
    for name, layer in layers.items():
        down, up = layer.thin(adapter_name, rank)
        tensors[f"{PREFIX}{name}.lora_A.weight"] = down.detach().cpu().contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = up.cpu().contiguous()
    ours = model.peft_config[adapter_name]
    config = LoraConfig(
        r=rank,
        lora_alpha=int(ours.alpha) if float(ours.alpha).is_integer() else ours.alpha,
        target_modules=_targets(model.get_base_model(), layers),
        base_model_name_or_path=ours.base_model_name_or_path,
        task_type=ours.task_type,
        inference_mode=True,
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found missing adapter keys", UserWarning)
        model = PeftModel.from_pretrained(base, folder, autocast_adapter_dtype=False).eval()
    there = get_peft_model_state_dict(model)
    empty = [key for key, tensor in there.items() if not _same(tensor, tensors.get(key))]
    if empty:
        raise StudentError(
            f"{len(empty)} of {len(there)} places of the model got no tensor from the adapter in {folder}, "
            f"among them {min(empty)}",
            "its file is not whole: export it again",
        )
    return model


def write_merged(model: PeftModel, folder: Path) -> None:
    """The whole model in full precision, the adapter at its rank added to its weights."""
    model.merge_adapter(safe_merge=True)
    try:
        base = model.get_base_model()
        base.save_pretrained(folder, state_dict=_state(base))
    finally:
        model.unmerge_adapter()


def _adapted(model: PeftModel, adapter_name: str) -> Iterator[tuple[str, DyQLoRAFALinear]]:
    for name, module in model.get_base_model().named_modules():
        if isinstance(module, DyQLoRAFALinear) and adapter_name in module.dyqlora_B:
            yield name, module


def _targets(base: nn.Module, layers: Mapping[str, DyQLoRAFALinear]) -> list[str]:
    """Last parts of the layers' names, as every server reads them; whole names where those would say more."""
    last = {name.rpartition(".")[2] for name in layers}
    others = (
        name
        for name, module in base.named_modules()
        if isinstance(module, nn.Linear) and not name.endswith(".base_layer") and name not in layers
    )
    return sorted(layers) if any(name.rpartition(".")[2] in last for name in others) else sorted(last)


def dequantised(model: PeftModel) -> PreTrainedModel:
    """The model that was tuned, as it was seen in tuning: no adapter, 8-bit weights in full precision."""
    base = model.get_base_model()
    plain: PreTrainedModel = type(base)(base.config).to(base.device, base.dtype).eval()
    plain.load_state_dict(_state(base))
    return plain


def _state(base: nn.Module) -> dict[str, Tensor]:
    """The state of a model without its adapters, under the names that it has without them."""
    state = dict(base.state_dict())
    for name, layer in base.named_modules():
        if isinstance(layer, Int8Linear):
            state[f"{name}.weight"] = layer.to_linear().weight
            del state[f"{name}.scale"]
    return {
        key.replace(".base_layer.", ".").replace(".modules_to_save.default.", "."): tensor
        for key, tensor in state.items()
        if not any(part in key for part in (f".{A}.", f".{B}.", ".original_module."))
    }


def _fits(key: str, tensor: Tensor, linear: Mapping[str, nn.Linear]) -> bool:
    name, _, kind = key.removeprefix(PREFIX).removesuffix(".weight").rpartition(".")
    layer = linear.get(name)
    if layer is None or kind not in ("lora_A", "lora_B"):
        return False
    return layer.in_features == tensor.shape[1] if kind == "lora_A" else layer.out_features == tensor.shape[0]


def _same(placed: Tensor, given: Tensor | None) -> bool:
    return given is not None and torch.equal(placed.cpu(), given.to(placed.dtype))


class _Reply(NamedTuple):
    """The tokens that a model answers with, and its logits for the first of them."""

    tokens: Tensor
    logits: Tensor


@torch.no_grad()
def _reply(model: Any, probe: Probe) -> _Reply:
    inputs = {name: tensor.to(model.device) for name, tensor in probe.items()}
    tokens = model.generate(**inputs, max_new_tokens=ANSWER_TOKENS, do_sample=False)
    return _Reply(tokens.cpu(), model(**inputs).logits[:, -1].float().cpu())


def _require_alike(model: nn.Module, probes: Sequence[Probe], told: Sequence[_Reply], which: str) -> float:
    """The greatest difference of logits. Raises StudentError where an answer differs."""
    model.eval()
    pairs = [(_reply(model, probe), reply) for probe, reply in zip(probes, told, strict=True)]
    largest = max(float((ours.logits - theirs.logits).abs().max()) for ours, theirs in pairs)
    others = [k for k, (ours, theirs) in enumerate(pairs) if not torch.equal(ours.tokens, theirs.tokens)]
    if others:
        raise StudentError(
            f"{which} answers {len(others)} of {len(probes)} probes otherwise than the tuned model, probe "
            f"{others[0]} first; its logits differ by up to {largest:.2g}",
            "nothing was exported: check that the base is the model which was tuned; of 8-bit weights, give "
            "the dequantised ones as base",
        )
    return largest
