"""From one tuning to any rank: a plain LoRA adapter that everybody loads, whole weights, and the proof that
both answer as the tuned model does.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging

from micrographia.adapt.adapter_files import PREFIX, WEIGHTS, load_lora, write_adapter
from micrographia.adapt.dyqlora_fa import DyQLoRAFAConfig, DyQLoRAFALinear
from micrographia.adapt.int8 import Int8Linear
from micrographia.adapt.kept import require_rank
from micrographia.engine import SILENT, Progress
from micrographia.errors import StudentError

ADAPTER, BASE, MERGED, REPORT = "adapter", "base", "merged", "export.json"
OF_ADAPTERS = ("dyqlora_", "lora_", "original_module")
"""How parts of names begin that a model has only with adapters."""
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
    model: PeftModel,
    folder: Path,
    rank: int,
    probes: Sequence[Probe],
    processor: Any = None,
    progress: Progress = SILENT,
) -> Export:
    """Write ``model`` at ``rank`` to ``folder``: ``base/``, the model without its adapter; ``adapter/``, a
    LoRA of that rank for it; ``merged/``, both in one. ``processor`` is saved beside whole models.

    All are loaded again from their files, the adapter by PEFT alone, and asked ``probes``. Raises
    RecipeError for a rank that the adapter does not have; StudentError, leaving what was in ``folder``
    before, where a tensor has no place, a place no tensor, or an answer is not that of ``model``.

    8-bit weights are written dequantised: beside weights that were never quantised, the adapter would answer
    otherwise by what quantisation lost. ``model`` is afterwards what it was; of PEFT's own methods, whose
    merging adds and subtracts, to within rounding.
    """
    require_rank(model.peft_config["default"], rank)
    logging.disable_progress_bar()  # those of writing and loading would run through ours
    draft = folder.with_name(f".{folder.name}-part")
    shutil.rmtree(draft, ignore_errors=True)
    model.eval()
    progress.begin("asking the probes", 3 * len(probes), "answers")
    try:
        _set_rank(model, rank)
        told = _replies(model, probes, progress)
        _write(model, draft, rank, base=str((folder / BASE).resolve()), processor=processor)
        load = type(model.get_base_model()).from_pretrained
        adapted = load_lora(load(draft / BASE, local_files_only=True), draft / ADAPTER).to(model.device)
        adapter_difference = _require_alike(adapted, probes, told, "the adapter's file", progress)
        del adapted
        whole = load(draft / MERGED, local_files_only=True).to(model.device)
        merged_difference = _require_alike(whole, probes, told, "the merged model", progress)
        tensors = len(load_file(draft / ADAPTER / WEIGHTS))
        report = Export(rank, len(probes), tensors, adapter_difference, merged_difference)
        (draft / REPORT).write_text(json.dumps(asdict(report), indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    finally:
        progress.end()
        shutil.rmtree(draft, ignore_errors=True)
        _set_rank(model, None)
    return report


def _write(model: PeftModel, folder: Path, rank: int, base: str, processor: Any) -> None:
    """The three forms; ``base`` is where the adapter says that its model lies."""
    if isinstance(model.peft_config["default"], DyQLoRAFAConfig):
        write_lora(model, folder / ADAPTER, rank, base=base)
    else:
        write_adapter(model, folder / ADAPTER, base=base)
    write_whole(model, folder / BASE)
    write_merged(model, folder / MERGED)
    if processor is not None:
        for whole in (BASE, MERGED):
            processor.save_pretrained(folder / whole)


def _set_rank(model: PeftModel, rank: int | None) -> None:
    """PEFT's own adapters have one rank."""
    if isinstance(model.peft_config["default"], DyQLoRAFAConfig):
        model.set_rank(rank)


def write_lora(model: PeftModel, folder: Path, rank: int, base: str | None = None) -> None:
    """The adapter at ``rank`` as PEFT's LoRA: r = rank and the same alpha, whose quotient is the scale.

    ``base`` is the name of the model that it belongs to.
    """
    layers = dict(_adapted(model))
    tensors = {}
    for name, layer in layers.items():
        down, up = layer.thin("default", rank)
        tensors[f"{PREFIX}{name}.lora_A.weight"] = down.detach().cpu().contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = up.cpu().contiguous()
    ours = model.peft_config["default"]
    config = LoraConfig(
        r=rank,
        lora_alpha=int(ours.alpha) if float(ours.alpha).is_integer() else ours.alpha,
        target_modules=_targets(model.get_base_model(), layers),
        base_model_name_or_path=base,
        task_type=ours.task_type,
        inference_mode=True,
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config.save_pretrained(folder)


def write_merged(model: PeftModel, folder: Path) -> None:
    """The whole model in full precision, the adapter at its rank added to its weights."""
    model.merge_adapter(safe_merge=True)
    try:
        write_whole(model, folder)
    finally:
        model.unmerge_adapter()


def write_whole(model: PeftModel, folder: Path) -> None:
    """The model as its weights are now, in full precision and without what the adapter would add."""
    base = model.get_base_model()
    base.save_pretrained(folder, state_dict=_state(base))


def _adapted(model: PeftModel) -> Iterator[tuple[str, DyQLoRAFALinear]]:
    for name, module in model.get_base_model().named_modules():
        if isinstance(module, DyQLoRAFALinear) and "default" in module.dyqlora_B:
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
        if not any(part.startswith(OF_ADAPTERS) for part in key.split("."))
    }


class _Reply(NamedTuple):
    """The tokens that a model answers with, and its logits for the first of them."""

    tokens: Tensor
    logits: Tensor


@torch.no_grad()
def _replies(model: Any, probes: Sequence[Probe], progress: Progress) -> list[_Reply]:
    replies = []
    for probe in probes:
        inputs = {name: tensor.to(model.device) for name, tensor in probe.items()}
        tokens = model.generate(**inputs, max_new_tokens=ANSWER_TOKENS, do_sample=False)
        replies.append(_Reply(tokens.cpu(), model(**inputs).logits[:, -1].float().cpu()))
        progress.advance()
    return replies


def _require_alike(
    model: nn.Module, probes: Sequence[Probe], told: Sequence[_Reply], which: str, progress: Progress
) -> float:
    """The greatest difference of logits. Raises StudentError where an answer differs."""
    pairs = list(zip(_replies(model.eval(), probes, progress), told, strict=True))
    largest = max(float((ours.logits - theirs.logits).abs().max()) for ours, theirs in pairs)
    others = [k for k, (ours, theirs) in enumerate(pairs) if not torch.equal(ours.tokens, theirs.tokens)]
    if others:
        raise StudentError(
            f"{which} answers {len(others)} of {len(probes)} probes otherwise than the tuned model, probe "
            f"{others[0]} first; its logits differ by up to {largest:.2g}",
            "nothing was exported: in half precision rounding alone may do that, so export in single; or "
            "its files were changed",
        )
    return largest
