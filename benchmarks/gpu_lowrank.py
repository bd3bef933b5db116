"""Peak memory and speed of tuning a 7B language model by low-rank adapters, on a GPU.

    python -m benchmarks.gpu_lowrank [--json] [--shape 7b] [--batch 8] [--length 1024] [--steps 6]

A Llama with random weights in bfloat16 (they show memory and speed as well as trained ones), adapters of
rank 16 on all linear layers, dropout 0.05, AdamW; every method with activation checkpointing and without:

    peft_lora        PEFT's LoRA as it comes, adapters in float32
    peft_lora_bf16   the same with bfloat16 adapters
    peft_lora_8bit   over bitsandbytes' 8-bit layers; left out where bitsandbytes is not installed
    peft_lora_fa     PEFT's LoRA-FA optimizer
    ours             DyQLoRA-FA, a rank from 4 to 16 drawn at each step, 8-bit weights

Keys: ``peak_gib_METHOD`` and ``tokens_per_second_METHOD``, with ``_checkpointed``; ``peak_vs_peft`` and
``tokens_vs_peft``: ours over PEFT's LoRA as it comes, without checkpointing, ``_checkpointed`` with. A method
that needs more memory than there is has "out of memory" for its figures. Without a GPU, ``--shape tiny`` runs
the same steps on the processor, where torch counts no peak.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from peft import PeftModel
from peft.optimizers import create_lorafa_optimizer
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import command
from benchmarks.activation_memory import DROPOUT, RANK, SHAPES, lora, ours

RATE = 1e-4
LLAMA_7B = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
}
TINY = SHAPES["tiny"][0] | {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1}
SIZES = {"7b": LLAMA_7B, "tiny": TINY}

Figure = float | str | None


@dataclass(frozen=True)
class Method:
    """How a model gets its adapters and its optimizer."""

    adapt: Callable[[nn.Module], PeftModel]
    optimizer: Callable[[PeftModel], torch.optim.Optimizer]


def adamw(model: PeftModel) -> torch.optim.Optimizer:
    """Over what is trained."""
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE)


def lora_fa(model: PeftModel) -> torch.optim.Optimizer:
    """PEFT's, which freezes A itself."""
    made: torch.optim.Optimizer = create_lorafa_optimizer(model, r=RANK, lora_alpha=1, lr=RATE)
    return made


METHODS = {
    "peft_lora": Method(lambda model: lora(model, DROPOUT, default=True), adamw),
    "peft_lora_bf16": Method(lambda model: lora(model, DROPOUT), adamw),
    "peft_lora_8bit": Method(lambda model: lora(in_8_bits(model), DROPOUT), adamw),
    "peft_lora_fa": Method(lambda model: lora(model, DROPOUT, default=True), lora_fa),
    "ours": Method(lambda model: ours(model, DROPOUT), adamw),
}


def in_8_bits(model: nn.Module) -> nn.Module:
    """The model with bitsandbytes' layers in place of all linear ones but the output's."""
    import bitsandbytes as bnb

    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear) and name != "lm_head":
            parent, _, last = name.rpartition(".")
            eight = bnb.nn.Linear8bitLt(
                layer.in_features, layer.out_features, bias=False, has_fp16_weights=False, device="meta"
            )
            eight.weight = bnb.nn.Int8Params(
                layer.weight.data.cpu(), requires_grad=False, has_fp16_weights=False
            )
            setattr(model.get_submodule(parent), last, eight.to(layer.weight.device))
    model.is_loaded_in_8bit = True  # type: ignore[assignment]  # what PEFT asks for
    return model


def llama(shape: str, device: str) -> LlamaForCausalLM:
    """Random weights in bfloat16, made on the device."""
    torch.manual_seed(0)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            return LlamaForCausalLM(LlamaConfig(**SIZES[shape]))
    finally:
        torch.set_default_dtype(usual)


def run(
    method: Method, shape: str, batch: int, length: int, steps: int, checkpointed: bool
) -> Iterator[Figure]:
    """Peak in GiB, then tokens a second over all steps but the first two, which warm up."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = method.adapt(llama(shape, device)).train()
    if checkpointed:
        model.activation_checkpointing_enable()
        model.enable_input_require_grads()
    optimizer = method.optimizer(model)
    ids = torch.randint(0, SIZES[shape]["vocab_size"], (batch, length), device=device)
    begun = 0.0
    for step in range(steps):
        if step == 2:
            synchronise()
            begun = time.perf_counter()
        with suppress(AttributeError):
            model.draw_rank(step)
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    synchronise()
    yield torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
    yield (steps - 2) * ids.numel() / (time.perf_counter() - begun)


def synchronise() -> None:
    """Wait for the GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def clear() -> None:
    """Give back what an earlier method held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def figures(shape: str, batch: int, length: int, steps: int) -> dict[str, Figure]:
    """All methods, with checkpointing and without."""
    made: dict[str, Figure] = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "shape": shape,
    }
    for after, checkpointed in (("", False), ("_checkpointed", True)):
        for name, method in METHODS.items():
            keys = f"peak_gib_{name}{after}", f"tokens_per_second_{name}{after}"
            if name == "peft_lora_8bit" and not (torch.cuda.is_available() and find_spec("bitsandbytes")):
                made |= dict.fromkeys(keys, "bitsandbytes or a GPU is missing")
                continue
            clear()
            try:
                made |= zip(keys, run(method, shape, batch, length, steps, checkpointed), strict=True)
            except torch.OutOfMemoryError:
                made |= dict.fromkeys(keys, "out of memory")
            print({key: made[key] for key in keys}, file=sys.stderr)
        for key, of in (("peak_vs_peft", "peak_gib"), ("tokens_vs_peft", "tokens_per_second")):
            made[key + after] = _quotient(made[f"{of}_ours{after}"], made[f"{of}_peft_lora{after}"])
    return made


def _quotient(one: Figure, other: Figure) -> float | None:
    return one / other if isinstance(one, float) and isinstance(other, float) else None


def main() -> None:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--shape", choices=SIZES, default="7b")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=1024, help="tokens of each text")
    parser.add_argument("--steps", type=int, default=6, help="steps of each method, two of them to warm up")
    options = parser.parse_args()
    made: Any = figures(options.shape, options.batch, options.length, options.steps)
    command.show(made, options.json)


if __name__ == "__main__":
    main()
